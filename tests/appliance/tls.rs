//! A client that trusts what it is told to trust and nothing else: curl.

use std::path::Path;
use std::process::Command;

/// Fetches `https://NAME:PORT/PATH` from `address` (`127.0.0.1:PORT`), trusting the
/// certificates in the file `roots` alone; without one, those of the system. Gives the body of
/// a 200, or what curl says.
pub(crate) fn fetch(
    roots: Option<&Path>,
    name: &str,
    address: &str,
    path: &str,
) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--fail", "--max-time", "10"])
        .args(["--resolve", &format!("{name}:{port}:{host}")]);
    if let Some(roots) = roots {
        command.arg("--cacert").arg(roots);
    }
    let url = format!("https://{name}:{port}/{path}");
    let output = command.arg(url).output().expect("curl");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
