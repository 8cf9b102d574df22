//! The addresses and services behind names, asked of the system's name servers.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration, time::SystemTime};

use hickory_resolver::{
    TokioResolver, net::runtime::TokioRuntimeProvider, proto::rr::RData, system_conf,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::OutgoingError;

/// Where the system names its name servers.
const SYSTEM: &str = "/etc/resolv.conf";
/// How often the file is looked at, at most: a laptop that changes its network, or a
/// container whose network came late, is noticed after so long.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long one question may take, all attempts together.
const QUESTION: Duration = Duration::from_secs(10);
/// The most records of one answer that are looked at.
const MAX_RECORDS: usize = 32;

/// One `SRV` record: a place where a service is offered (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower ones are tried first.
    pub priority: u16,
    /// How often it is chosen among those of its priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, without a dot at its end; empty where the service is decidedly not
    /// offered.
    pub target: String,
}

/// Resolves names. The system's file is read again when it has changed.
pub(crate) struct Names {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    /// When the file in use was written, and its length.
    stamp: Option<(SystemTime, u64)>,
    resolver: Option<Arc<TokioResolver>>,
    servers: Vec<IpAddr>,
}

impl Names {
    pub(crate) fn of_the_system() -> Self {
        Self::from_file(PathBuf::from(SYSTEM))
    }

    pub(crate) fn from_file(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::default(),
        }
    }

    /// The resolver to ask; the last good one while the file cannot be used.
    pub(crate) fn resolver(&self) -> Result<Arc<TokioResolver>, OutgoingError> {
        let mut state = self.state.lock();
        if state
            .looked
            .is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
        {
            state.looked = Some(Instant::now());
            self.look(&mut state);
        }
        let known = state.resolver.clone();
        known.ok_or_else(|| OutgoingError::Name("this system has no name server".to_owned()))
    }

    fn look(&self, state: &mut State) {
        let stamp = std::fs::metadata(&self.path)
            .ok()
            .and_then(|file| Some((file.modified().ok()?, file.len())));
        if stamp.is_none() || stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match self.read() {
            Ok((resolver, servers)) => {
                state.resolver = Some(Arc::new(resolver));
                state.servers = servers;
                log::info!("names are asked of {:?}", state.servers);
            }
            Err(error) => log::warn!(
                "{} names no usable name server: {error}",
                self.path.display()
            ),
        }
    }

    fn read(&self) -> Result<(TokioResolver, Vec<IpAddr>), String> {
        let text = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        let (config, options) =
            system_conf::parse_resolv_conf(text).map_err(|error| error.to_string())?;
        let servers = config.name_servers().iter().map(|one| one.ip).collect();
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok((resolver, servers))
    }

    /// The addresses of a host; of an address, itself.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutgoingError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let resolver = self.resolver()?;
        let found = timeout(QUESTION, resolver.lookup_ip(host))
            .await
            .map_err(|_| OutgoingError::Name("no name server answered in time".to_owned()))?
            .map_err(|error| match error.is_no_records_found() {
                true => OutgoingError::NoName(host.to_owned()),
                false => OutgoingError::Name(error.to_string()),
            })?;
        Ok(found.iter().collect())
    }

    /// The places of a service, `_matrix-fed._tcp.council.example`; none if there is no
    /// such record.
    pub(crate) async fn services(&self, name: &str) -> Result<Vec<Service>, OutgoingError> {
        let resolver = self.resolver()?;
        // The dot says that no search domain of this machine is to be put behind it.
        let whole = format!("{}.", name.trim_end_matches('.'));
        let found = timeout(QUESTION, resolver.srv_lookup(whole))
            .await
            .map_err(|_| OutgoingError::Name("no name server answered in time".to_owned()))?;
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(OutgoingError::Name(error.to_string())),
        };
        let records = found.answers().iter().take(MAX_RECORDS);
        let services = records.filter_map(|record| match &record.data {
            RData::SRV(service) => Some(Service {
                priority: service.priority,
                weight: service.weight,
                port: service.port,
                target: service.target.to_ascii().trim_end_matches('.').to_owned(),
            }),
            _ => None,
        });
        Ok(services.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &Names) -> Vec<IpAddr> {
        names.resolver().unwrap();
        names.state.lock().servers.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let names = Names::from_file(path.clone());
        assert!(matches!(names.resolver(), Err(OutgoingError::Name(_))));
        // A network that comes late.
        std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(servers(&names), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        // Another network.
        std::fs::write(&path, "nameserver 192.0.2.22\n").unwrap();
        assert_eq!(servers(&names), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(servers(&names), ["192.0.2.22".parse::<IpAddr>().unwrap()]);
        // A file that is being written, or broken: the last good one stays in use.
        std::fs::write(&path, "").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(servers(&names), ["192.0.2.22".parse::<IpAddr>().unwrap()]);
    }
}
