//! `make bench`: measures the real server under load, beside the disk it runs on.
//!
//! Starts the binary that `CAIRN_BINARY` names on fresh data folders, with rate limits
//! off and registration open, and prints a Markdown table: each measure's target, median
//! and extremes. Everything travels over HTTP/1.1 connections that stay open.
//!
//! - The load comes from one thread with a client that does next to nothing
//!   ([`measuring::client`]), because server and load share the machine; what the load itself takes
//!   of a processor is printed beside the sends.
//! - The server's CPU time is `utime + stime` of `/proc/PID/stat`, its memory the
//!   proportional set size (PSS) of `/proc/PID/smaps_rollup`.
//! - The disk's rate of synced writes is measured before and after each run of sends, in
//!   the file system of the data folder ([`disk`]).

mod administering;
mod desk;
mod disk;
mod federation;
mod keys;
mod load;
mod media;
mod members;
mod operating;
mod options;
mod people;
mod reading;
mod report;
mod rooms_list;
mod sends;
mod sliding;
mod starts;
mod syncs;

use measuring::{client, process};
use options::{Measure, Options};
use report::Report;

fn main() {
    let options = Options::from_arguments();
    // One thread, so that the load leaves the other processors to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let report = runtime.block_on(measure(&options));
    report.print(&options);
}

async fn measure(options: &Options) -> Report {
    let mut report = Report::new();
    if options.wants(Measure::IdleMemory) {
        starts::idle_memory(options, &mut report).await;
    }
    syncs::measure(options, &mut report).await;
    sliding::measure(options, &mut report).await;
    sends::measure(options, &mut report).await;
    media::measure(options, &mut report).await;
    keys::measure(options, &mut report).await;
    reading::measure(options, &mut report).await;
    members::measure(options, &mut report).await;
    administering::measure(options, &mut report).await;
    rooms_list::measure(options, &mut report).await;
    operating::measure(options, &mut report).await;
    federation::measure(options, &mut report).await;
    report
}
