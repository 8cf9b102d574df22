//! Checks for people with disabilities: axe-core, which npm installs in the target folder as
//! `package-lock.json` names it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::process::Command;

use crate::driver::Browser;

const MANIFEST: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");

/// What of the rules is looked at: WCAG 2.2, A and AA, and what its makers think good besides.
const RUN: &str = r#"
return axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}).then(({ violations, passes }) => ({
    seen: passes.length,
    wrong: violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
}));
"#;

/// The library's text. Whoever comes first installs it, others wait.
fn library() -> String {
    let mut hasher = DefaultHasher::new();
    (MANIFEST, LOCK).hash(&mut hasher);
    let name = format!("axe-{:016x}", hasher.finish());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the library");
    let turn = File::create(folder.join("lock")).expect("the lock");
    turn.lock().expect("the turn to install");
    let complete = folder.join("complete");
    if !complete.exists() {
        std::fs::write(folder.join("package.json"), MANIFEST).expect("package.json");
        std::fs::write(folder.join("package-lock.json"), LOCK).expect("package-lock.json");
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output()
            .expect("npm, which `.ci/install-dependencies test` installs");
        assert!(
            output.status.success(),
            "npm ci in {}: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        File::create(complete).expect("the mark that all is there");
    }
    let file = folder.join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(file).expect("axe-core")
}

/// Checks the page as it is.
pub(crate) async fn check(browser: &Browser, name: &str) {
    let found = browser.examine(&format!("{}\n{RUN}", library())).await;
    assert!(found["seen"].as_u64() > Some(10), "{name}: {found}");
    assert_eq!(found["wrong"], serde_json::json!([]), "{name}");
}
