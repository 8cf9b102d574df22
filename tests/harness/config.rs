//! The configuration file of a server under test.

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anybody, with `m.login.dummy` alone.
    Open,
    /// Whoever has an invitation token.
    Invite,
    /// Nobody.
    Closed,
}

/// What a test may choose; the rest is the server's default.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's name in ids.
    pub server_name: String,
    /// Who may register.
    pub registration: Registration,
    /// Whether requests are counted and refused.
    pub limits: bool,
    /// Lines that are added to the registration.
    pub registration_more: String,
    /// What the listener serves.
    pub serves: Vec<String>,
    /// Lines that are added to the listener.
    pub listener: String,
    /// Lines that are added at the end, tables included.
    pub more: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: "localhost".into(),
            registration: Registration::Open,
            limits: false,
            registration_more: String::new(),
            serves: ["client", "admin", "metrics"].map(String::from).to_vec(),
            listener: String::new(),
            more: String::new(),
        }
    }
}

impl Config {
    /// The file's text for a server with its data in `data_dir`, listening on `address`.
    pub fn text(&self, data_dir: &std::path::Path, address: &str) -> String {
        let mode = match self.registration {
            Registration::Open => "open",
            Registration::Invite => "invite",
            Registration::Closed => "closed",
        };
        format!(
            r#"server_name = "{name}"
data_dir = "{data}"

[[listener]]
address = "{address}"
serves = {serves:?}
{listener}

[registration]
mode = "{mode}"
{registration_more}

[limits]
enabled = {limits}

{more}
"#,
            name = self.server_name,
            data = data_dir.display(),
            limits = self.limits,
            registration_more = self.registration_more,
            serves = self.serves,
            listener = self.listener,
            more = self.more,
        )
    }
}
