//! Pages for people: the one at `/`, those of an invitation, of an e-mail address that is
//! confirmed, of an account that is renewed, and the console at `/console/`.
//!
//! Floor: doors. Handlers and the pages they answer with, made on the server. Nothing is loaded
//! from anywhere else. On the pages for everybody no script runs; the console ([`Desk`]) has a
//! small one of its own, without which all but passkeys and a chart works.
//!
//! What comes from outside gets into a page through `html.rs` alone, which escapes
//! it. Every word that a person reads stands in `texts.rs` and `words.rs`, for translation.
//!
//! Never here: a rule about who may join or do something; on the pages for everybody a session,
//! a cookie, or a token.

mod accepting;
mod confirming;
mod desk;
mod html;
mod joining;
mod landing;
mod options;
mod page;
mod pages;
mod qr;
mod renewing;
mod same_origin;
mod sheet;
mod texts;
mod words;

pub use desk::{ConsoleOptions, Desk, KeptTables, Oversight, routes as desk_routes};
pub use landing::Support;
pub use options::{ClientLink, JoiningOptions};
pub use qr::QrCode;
pub use sheet::{SheetInvitation, sheet, sheet_frame, sheets};
pub use texts::moment;

use std::sync::Arc;

use accounts::Accounts;
use web::{Limits, Routes};

/// What the pages stand on.
#[derive(Clone)]
pub struct Console {
    /// Who people are.
    pub accounts: Accounts,
    /// How much one client may ask for.
    pub limits: Limits,
    /// The address that people and their clients use for this server, without a
    /// slash at its end: `https://chat.council.example`.
    pub address: Arc<str>,
    /// What the operator wants newcomers to be told.
    pub joining: Arc<JoiningOptions>,
    /// Whom people ask for help.
    pub support: Arc<Support>,
}

/// All pages. `routes().into_router(console)` serves them.
pub fn routes() -> Routes<Console> {
    joining::routes()
        .merge(confirming::routes())
        .merge(renewing::routes())
        .merge(landing::routes())
}

/// The link that an invited person opens. `address` is the server's, as in
/// [`Console::address`].
///
/// The token stands in the path, for pages that work without scripts never see what
/// stands behind a `#`. It is kept out of logs (`web` writes the path's template),
/// caches (`no-store`), other sites (no `Referer` leaves ours) and the page itself.
pub fn invitation_link(address: &str, token: &str) -> String {
    format!("{address}/join/{token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_handlers_want_the_same_page() {
        // It panics where they do.
        drop(routes());
    }
}
