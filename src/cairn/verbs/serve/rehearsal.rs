//! A server on a laid out backup, for a moment: built as the one that serves, it answers and
//! stops. Nothing is begun that tells anybody anything.

use std::{os::unix::fs::symlink, path::Path};

use runtime::{Metrics, Tasks};
use web::Limits;

use super::{STOP_DEADLINE, Server, doors::Served};
use crate::{
    config::Config,
    parts::Parts,
    sight::Settings,
    socket,
    verbs::{
        Failure,
        administer::SOCKET,
        backup::{failed, temporary_folder},
    },
};

/// Starts the server `server_name` on the data folder `folder`, which has its key, asks it how
/// it is, and stops it.
///
/// # Errors
/// If it does not start, or is not ready.
pub(in crate::verbs) fn rehearse(folder: &Path, server_name: &str) -> Result<(), Failure> {
    // A socket's path is short; that of a backup may be long.
    let near = temporary_folder()?;
    let data_dir = near.join("data");
    let begun = symlink(std::path::absolute(folder).map_err(failed)?, &data_dir);
    let answered = begun
        .map_err(failed)
        .and_then(|()| configuration(&data_dir, server_name))
        .and_then(answers);
    let _ = std::fs::remove_dir_all(&near);
    answered
}

/// A configuration without a listener: whoever is on this machine alone can ask.
fn configuration(data_dir: &Path, server_name: &str) -> Result<Config, Failure> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let text = format!(
        "server_name = {}\ndata_dir = {}\n[[listener]]\naddress = \"127.0.0.1:0\"\n",
        quoted(server_name),
        quoted(&data_dir.to_string_lossy()),
    );
    let mut config = Config::parse(Path::new("/rehearsal.toml"), &text)?;
    config.listeners.clear();
    Ok(config)
}

fn answers(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("this process cannot work: {error}")))?;
    runtime.block_on(async {
        let metrics = Metrics::new();
        let tasks = Tasks::measured(&metrics);
        let parts = Parts::open(&config, &metrics, tasks.stop()).map_err(failed)?;
        let limits = Limits::new(config.limits.clone(), parts.clock.clone());
        let served = Served::new(&config, &parts, &limits, &tasks, &metrics)?;
        let path = config.data_dir.join(SOCKET);
        let mut server = Server {
            config,
            tasks,
            limits,
            tls: Vec::new(),
            keeper: None,
            settings: Settings::default(),
        };
        let overseer = server.listen(&parts, &served, &metrics, true).await?;
        let health = socket::get(&path, "/_cairn/health").await;
        server.tasks.shutdown(STOP_DEADLINE).await;
        drop((parts, served, overseer));
        match health? {
            Some(health) if health["ready"] == true => Ok(()),
            Some(health) => Err(failed(format!(
                "a server starts on the backup, and is not ready: {}",
                health["reasons"]
            ))),
            None => Err(failed("a server starts on the backup, and does not answer")),
        }
    })
}
