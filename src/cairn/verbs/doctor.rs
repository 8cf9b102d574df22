//! `cairn doctor`: what is wrong with this server, and what to do about it. Works offline, and
//! says what it could not check.

mod kept;
mod machine;
mod reach;
mod running;

use std::path::Path;

use serde_json::{Value, json};

use super::{Answer, Failure};
use crate::{
    command_line::{Common, Doctor},
    config::Config,
};

/// What came of one check.
enum Finding {
    Well(String),
    /// What is wrong and what to do.
    Wrong(String),
    /// Why it could not be checked.
    Unknown(String),
}

/// All that was found, in order.
#[derive(Default)]
struct Findings(Vec<(&'static str, Finding)>);

impl Findings {
    fn well(&mut self, what: &'static str, how: impl Into<String>) {
        self.0.push((what, Finding::Well(how.into())));
    }

    fn wrong(&mut self, what: &'static str, why: impl Into<String>) {
        self.0.push((what, Finding::Wrong(why.into())));
    }

    fn unknown(&mut self, what: &'static str, why: impl Into<String>) {
        self.0.push((what, Finding::Unknown(why.into())));
    }
}

/// Checks everything. Fails if something is wrong.
pub(super) fn run(doctor: &Doctor, common: &Common) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("this process cannot work: {error}")))?;
    let mut findings = Findings::default();
    match Config::load(&common.config) {
        Err(error) => findings.wrong("configuration", error.to_string()),
        Ok(config) => {
            configuration(&config, &common.config, &mut findings);
            kept::data_folder(&config, &mut findings);
            kept::certificates(&config, &mut findings);
            runtime.block_on(running::server(&config, &mut findings));
            runtime.block_on(reach::check(&config, &mut findings));
            if let Some(name) = &doctor.server {
                runtime.block_on(running::other_server(&config, name, &mut findings));
            }
            kept::backups(&doctor.backups, &config, &mut findings);
        }
    }
    machine::machine(&mut findings);
    answer(&findings)
}

fn configuration(config: &Config, file: &Path, findings: &mut Findings) {
    findings.well("configuration", format!("{}: no mistakes", file.display()));
    for name in config.absent_credentials() {
        findings.unknown(
            "configuration",
            format!("credential {name}: only the running service has it"),
        );
    }
}

fn answer(findings: &Findings) -> Result<Answer, Failure> {
    let (mut lines, mut checks, mut wrong) = (Vec::new(), Vec::new(), 0);
    for (what, finding) in &findings.0 {
        let (mark, state, text) = match finding {
            Finding::Well(text) => ('✓', "well", text),
            Finding::Wrong(text) => {
                wrong += 1;
                ('✗', "wrong", text)
            }
            Finding::Unknown(text) => ('?', "not checked", text),
        };
        lines.push(format!("{mark} {what}: {text}"));
        checks.push(json!({ "check": what, "state": state, "text": text }));
    }
    let text = lines.join("\n");
    let answer: Value = json!({ "well": wrong == 0, "checks": checks });
    if wrong == 0 {
        return Ok(Answer { text, json: answer });
    }
    Err(Failure::Found { text, json: answer })
}
