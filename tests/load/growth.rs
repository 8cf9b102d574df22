//! What ten times the rooms, people and history cost: Cairn alone.

use measuring::statistics::{median, number};

use crate::options::{Options, Size, Which};
use crate::report::Report;
use crate::scenarios::Scenario;
use crate::sites::Site;
use crate::world::World;

/// How much more one operation may cost.
const MOST: f64 = 1.3;
/// What is compared: what must not depend on how much there is.
const COMPARED: [Scenario; 5] = [
    Scenario::SendsInManyRooms,
    Scenario::NextSync,
    Scenario::FirstSlidingSync,
    Scenario::NextSlidingSync,
    Scenario::Pages,
];

/// Adds a line for each kind of load.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let small = Size {
        people: 20,
        members: 8,
        rooms: 30,
        messages: 20,
    };
    let large = Size {
        people: 200,
        members: 8,
        rooms: 300,
        messages: 20,
    };
    let mut sites = Vec::new();
    for size in [&small, &large] {
        eprintln!("preparing {} people and {} rooms", size.people, size.rooms);
        let mut site = Site::start(&Which::Cairn, options).await;
        let mut world = World::prepare(&site, size).await;
        // So little would never have been written to files, and not be compared with what was.
        site.restart();
        // As many clients on both.
        world.people.truncate(small.people);
        sites.push((site, world));
    }
    for scenario in COMPARED {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..options.turns {
            for ((site, world), costs) in sites.iter_mut().zip(&mut costs) {
                let measured = scenario.run(site, world, options).await;
                costs.push(measured.cpu / measured.operations as f64);
            }
        }
        let ratios: Vec<f64> = costs[1]
            .iter()
            .zip(&costs[0])
            .map(|(large, small)| large / small)
            .collect();
        let note = format!(
            "{} ms, and {} ms with ten times as much",
            number(median(&costs[0])),
            number(median(&costs[1]))
        );
        let name = format!("{}: processor time with ten times as much", scenario.name());
        report.add_alone(name, "times", MOST, &ratios, note);
    }
}
