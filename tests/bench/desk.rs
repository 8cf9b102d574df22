//! Pages of the console, as a clerk opens them.

use std::time::Instant;

use harness::{Clerk, Server, User};

use crate::options::Options;
use crate::report::{Report, Target};

/// How often each page is opened in a run.
const OPENED: usize = 20;

/// Somebody with a role and a second factor.
pub(crate) async fn clerk(server: &Server, user: &User) -> Clerk {
    Clerk::at_desk(server.visitor(), user.localpart()).await
}

/// Measures the slowest of some openings of each page, all rows of a list under one name.
pub(crate) async fn measure(
    clerk: &mut Clerk,
    (list, pages): (&str, &[(&str, &str)]),
    options: &Options,
    report: &mut Report,
) {
    for (name, path) in pages {
        let mut runs = Vec::new();
        for _ in 0..options.runs() {
            runs.push(slowest(clerk, path).await);
        }
        let name = format!("Console, {list}, {name}: the slowest of {OPENED}");
        report.add(name, "ms", Target::AtMost(100.0), &runs, "");
    }
}

/// The slowest of some openings, in ms.
async fn slowest(clerk: &mut Clerk, path: &str) -> f64 {
    let mut slowest: f64 = 0.0;
    for _ in 0..OPENED {
        let before = Instant::now();
        let page = clerk.open(path).await;
        slowest = slowest.max(before.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(page.status, 200, "{path}");
    }
    slowest
}
