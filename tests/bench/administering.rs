//! What an administrator waits for: a table of 10,000 people that becomes accounts, and lists
//! of them.

use std::time::Instant;

use harness::User;

use crate::desk;
use crate::options::{Measure, Options};
use crate::people;
use crate::report::{Report, Target};

/// How many people the table has.
const PEOPLE: usize = 10_000;
/// How often each list is asked for in a run.
const ASKED: usize = 20;

/// Measures what the options want of it.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if !options.wants(Measure::Administering) {
        return;
    }
    let folder = options.new_folder();
    let server = people::start(folder.path());
    let boss = people::register(&server, "boss", 1).await.remove(0);
    server.cairn_json(&["user", "promote", boss.localpart()]);
    server.cairn_json(&["department", "create", "Works"]);
    let table = folder.path().join("people.csv");
    let mut text = "localpart,display_name,email,departments\n".to_owned();
    for number in 0..PEOPLE {
        text += &format!("p{number},Person {number},p{number}@council.example,Works\n");
    }
    std::fs::write(&table, text).expect("the table is written");
    let words = ["user", "import", table.to_str().expect("a path of text")];
    for (what, field) in [
        ("A table of 10,000 people: first import", "new"),
        ("The same table again", "unchanged"),
    ] {
        let before = Instant::now();
        let done = server.cairn_json(&words);
        let seconds = before.elapsed().as_secs_f64();
        assert_eq!(done[field], PEOPLE, "{done}");
        report.add(
            what,
            "s",
            Target::AtMost(120.0),
            &[seconds],
            "the command, with its check of all lines",
        );
    }
    for (name, query) in [
        ("first page", "limit=100"),
        ("last page", "limit=100&from=9900"),
        ("search by name", "limit=100&name=person 77"),
        ("search that fits nearly all", "limit=100&name=person"),
        ("by display name", "limit=100&order_by=displayname"),
        ("by last use", "limit=100&order_by=last_seen_ts&dir=b"),
    ] {
        let mut runs = Vec::new();
        for _ in 0..options.runs() {
            runs.push(slowest(&boss, query).await);
        }
        let name = format!("List of 10,000 people, {name}: the slowest of {ASKED}");
        report.add(name, "ms", Target::AtMost(100.0), &runs, "");
    }
    let mut clerk = desk::clerk(&server, &boss).await;
    let pages = [
        ("overview", "/console/"),
        ("first page", "/console/people"),
        (
            "a page in the middle",
            "/console/people?after=@p5:localhost",
        ),
        ("search", "/console/people?q=person+7777"),
        ("search that fits nearly all", "/console/people?q=person"),
        ("search that fits nobody", "/console/people?q=nobody"),
        ("those with a role", "/console/people?which=roles"),
        ("one person", "/console/people/p77"),
        ("invitations", "/console/invitations"),
    ];
    let people = ("10,000 people", &pages[..]);
    desk::measure(&mut clerk, people, options, report).await;
}

/// The slowest answer of some, in ms.
async fn slowest(boss: &User, query: &str) -> f64 {
    let mut slowest: f64 = 0.0;
    for _ in 0..ASKED {
        let before = Instant::now();
        let page = boss
            .get(format!("/_synapse/admin/v2/users?{query}"))
            .await
            .ok();
        slowest = slowest.max(before.elapsed().as_secs_f64() * 1_000.0);
        assert!(
            page["total"].as_u64().is_some_and(|total| total > 0),
            "{page}"
        );
    }
    slowest
}
