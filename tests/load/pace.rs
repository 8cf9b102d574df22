//! How late messages come to 200 people at a given pace: Cairn alone.

use std::time::Duration;

use measuring::statistics::{number, percentile};

use crate::delivery;
use crate::options::{Options, Size, Which};
use crate::report::Report;
use crate::sites::Site;
use crate::world::World;

/// Who wait.
const RECEIVERS: usize = 200;
/// Messages a second, and within how many milliseconds 99 of 100 must be there.
const PACES: [(u32, f64); 2] = [(10, 20.0), (50, 100.0)];

/// Adds a line for each pace.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let site = Site::start(&Which::Cairn, options).await;
    let size = Size {
        people: RECEIVERS,
        members: 0,
        rooms: 0,
        messages: 0,
    };
    let world = World::prepare(&site, &size).await;
    for (pace, most) in PACES {
        eprintln!("{RECEIVERS} receivers, {pace} messages a second");
        let mut slowest = Vec::new();
        let (mut errors, mut delivered) = (0, 0);
        for _ in 0..options.turns {
            let time = options.turn.max(Duration::from_secs(2));
            let each = Duration::from_secs(1) / pace;
            let measured = delivery::measure_at(&site, &world, time, each).await;
            slowest.push(percentile(&measured.latencies, 99));
            errors += measured.errors;
            delivered += measured.operations;
        }
        let note = format!("{delivered} delivered, {errors} errors");
        report.add_alone(
            format!("{RECEIVERS} receivers, {pace} messages a second: 99 % within"),
            "ms",
            most,
            &slowest,
            note,
        );
    }
    eprintln!("memory after it: {} MiB", number(site.memory()));
}
