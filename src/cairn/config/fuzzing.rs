//! What the fuzz target `configuration` of `tests/fuzz` calls. There in tests and in fuzzing
//! only.

use std::path::Path;

use super::Config;

/// A configuration file.
pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    // Whatever it names is looked for where nothing is.
    let file = Path::new("/nonexistent/cairn.toml");
    match Config::parse(file, text) {
        Ok(config) => {
            assert!(!config.listeners.is_empty());
            let _ = config.absent_credentials();
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            let lines = text.lines().count().max(1) + 1;
            for problem in error.problems() {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds() {
        crate::seeds::each("configuration", super::configuration);
    }
}
