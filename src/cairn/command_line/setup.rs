//! A new server, and its configuration.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// What a new server is. Whatever is left out is asked for on a terminal.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The name behind the colon of every user's id, for ever: a domain such as council.example.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Where the server keeps everything; relative to the configuration file's folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address to listen on for clients, for instance 127.0.0.1:8008.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Create this user as the first administrator; the generated password is shown once.
    #[arg(long, value_name = "USER")]
    pub(crate) administrator: Option<String>,
    /// How apps get an encrypted connection; by a reverse proxy, if left out.
    #[arg(long, value_enum)]
    pub(crate) tls: Option<TlsKind>,
    /// With `--tls files`: the PEM file of the certificate and those that lead to its root.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// With `--tls files`: the PEM file of the certificate's key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A name or address by which apps reach the server, the one for people first; the server's name, if left out. May be repeated.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// With `--tls acme`: the e-mail address that the authority writes to.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
}

/// How apps get an encrypted connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TlsKind {
    /// A reverse proxy in front of it has the certificate.
    Proxy,
    /// With a certificate from files.
    Files,
    /// With an authority that the server makes, for places without internet: its root is installed on each device.
    Local,
    /// With an authority on the internet (Let's Encrypt), which must reach port 443.
    Acme,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Say whether the configuration can be used, and name every mistake in it.
    Check,
    /// Print an example with every option, its meaning and its default.
    Example,
    /// Print the configuration in effect, defaults included, secrets hidden.
    Show,
}
