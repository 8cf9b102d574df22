//! `make load`: loads homeservers turn about on one machine and compares them.
//!
//! It speaks the client-server API alone, so any homeserver can be loaded: Cairn (the binary
//! that `CAIRN_BINARY` names), Synapse from PyPI with SQLite and with PostgreSQL, and whatever
//! listens at `--url`.
//!
//! - All servers run from the beginning to the end and are prepared alike ([`world`]); one at
//!   a time is loaded, in short turns, one server after the other within each scenario. What
//!   slows the machine for a while so slows them alike.
//! - A scenario ([`scenarios`], [`delivery`]) is what many clients do at the same time, each as
//!   soon as its last request was answered ([`driving`]).
//! - What a server takes is what the kernel says of its processes, a database's included
//!   ([`sites`]): processor time, memory (PSS), bytes written.
//! - [`soak`] loads Cairn alone for hours (`make soak`).
//! - [`pace`] and [`growth`] look at Cairn alone: how late messages come at a given pace, and
//!   what ten times the rooms cost.

mod delivery;
mod driving;
mod growth;
mod options;
mod pace;
mod postgres;
mod report;
mod scenarios;
mod sites;
mod soak;
mod synapse;
mod world;

use std::time::Instant;

use driving::join_all;
use options::Options;
use report::Report;
use scenarios::Scenario;
use sites::Site;
use world::World;

fn main() {
    let options = Options::from_arguments();
    // One thread, so that the load leaves the other processors to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if let Some(time) = options.soak {
        let complaints = runtime.block_on(soak::run(&options, time));
        for complaint in &complaints {
            println!("MISS: {complaint}");
        }
        std::process::exit(i32::from(!complaints.is_empty()));
    }
    runtime.block_on(measure(&options)).print();
}

async fn measure(options: &Options) -> Report {
    let begun = Instant::now();
    let mut report = Report::new(options);
    let mut sites = Vec::new();
    for server in &options.servers {
        eprintln!("starting {}", server.name());
        sites.push(Site::start(server, options).await);
    }
    eprintln!("preparing people and rooms");
    let prepared = sites.into_iter().map(async |site| {
        let world = World::prepare(&site, &options.size).await;
        (site, world)
    });
    let mut loaded = join_all(prepared).await;
    for scenario in Scenario::ALL {
        if !options.wants(scenario.name()) {
            continue;
        }
        for turn in 0..options.turns {
            for (site, world) in &mut loaded {
                eprintln!(
                    "{:>5.0} s  {}, turn {} of {}: {}",
                    begun.elapsed().as_secs_f64(),
                    scenario.name(),
                    turn + 1,
                    options.turns,
                    site.name()
                );
                let measured = scenario.run(site, world, options).await;
                report.add(scenario.name(), site.name(), measured);
            }
        }
    }
    for (site, world) in &loaded {
        report.add_end(site, world);
    }
    drop(loaded);
    if options.wants_cairn_alone("pace") {
        pace::measure(options, &mut report).await;
    }
    if options.wants_cairn_alone("growth") {
        growth::measure(options, &mut report).await;
    }
    report
}
