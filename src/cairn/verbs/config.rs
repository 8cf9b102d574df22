//! `cairn config check|example|show`

use serde_json::json;

use super::{Answer, Failure};
use crate::{
    command_line::{Common, ConfigVerb},
    config::{self, Config},
};

/// Does the verb. Only `example` works without a configuration file.
pub(super) fn run(verb: &ConfigVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        ConfigVerb::Check => check(common),
        ConfigVerb::Example => Ok(example()),
        ConfigVerb::Show => show(common),
    }
}

fn check(common: &Common) -> Result<Answer, Failure> {
    Config::load(&common.config)?;
    let file = common.config.display();
    Ok(Answer {
        text: format!("{file}: no mistakes found"),
        json: json!({ "file": file.to_string(), "valid": true }),
    })
}

fn example() -> Answer {
    let example = config::example();
    Answer {
        json: json!({ "example": example }),
        text: example,
    }
}

fn show(common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let unprintable = |error: &dyn std::fmt::Display| {
        Failure::Other(format!("the configuration cannot be shown: {error}"))
    };
    Ok(Answer {
        text: toml::to_string(&config).map_err(|error| unprintable(&error))?,
        json: serde_json::to_value(&config).map_err(|error| unprintable(&error))?,
    })
}
