//! What an operator tells newcomers.

use serde::{Deserialize, Serialize};

runtime::options! {
    /// What people who joined by an invitation's link are told about signing in.
    pub struct JoiningOptions in "joining" {
        /// The apps to install, each with its platform and the address to get it from, which
        /// may be a copy in your own network. At most 12. For instance
        /// [{ name = "Element X", platform = "Android", address = "https://files.example/element-x.apk" }]
        pub clients: Vec<ClientLink> = Vec::new(),
        /// The link in the QR code and the button of the page after joining, with {address},
        /// {server_name} and {user_id} filled in. Element X opens
        /// "https://mobile.element.io/element/?account_provider={server_name}&login_hint=mxid:{user_id}";
        /// "{address}" is the server's address alone. Empty: the code leads to that page itself, so that
        /// who joined at a computer goes on with the phone, and there is no button.
        pub sign_in_link: String = String::new(),
    }
}

/// A client that newcomers may install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLink {
    /// Its name, as people know it.
    pub name: String,
    /// What it runs on.
    pub platform: String,
    /// Where to get it: `http://`, `https://`, or a path on this server's address.
    pub address: String,
}
