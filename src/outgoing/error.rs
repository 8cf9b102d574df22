//! Why a request has no answer.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The URL is none that can be asked: another scheme, no host.
    #[error("the URL cannot be asked")]
    Url,
    /// Plain HTTP, where the caller does not take that.
    #[error("plain HTTP is not allowed")]
    PlainHttp,
    /// The address is private, reserved or local, and the configuration does not list it.
    #[error("the address {0} may not be reached; outgoing.private_networks can allow it")]
    Address(IpAddr),
    /// The name has no address, or nobody can be asked.
    #[error("the name was not resolved: {0}")]
    Name(String),
    /// The name servers say that nothing has this name.
    #[error("there is no address for the name {0}")]
    NoName(String),
    /// Nobody listens there, or the connection broke.
    #[error("the connection failed: {0}")]
    Connection(Arc<std::io::Error>),
    /// What came is no HTTP, or ended early.
    #[error("the exchange failed: {0}")]
    Exchange(String),
    /// It took longer than the caller waits.
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than the caller takes, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// More redirects than the caller follows, or one without a place.
    #[error("redirected too often, or nowhere")]
    Redirect,
}

impl OutgoingError {
    /// One word for the metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Url | Self::PlainHttp => "url",
            Self::Address(_) => "address",
            Self::Name(_) | Self::NoName(_) => "name",
            Self::Connection(_) => "connection",
            Self::Exchange(_) => "exchange",
            Self::Timeout => "timeout",
            Self::TooLarge(_) => "size",
            Self::Redirect => "redirect",
        }
    }
}

/// Why the trusted roots cannot be used: one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of `trusted_roots` is unreadable or holds no certificate.
    #[error("{} holds no usable certificate: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refuses its settings.
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}
