//! The page at `/`: what this server is, where one signs in, and who helps. It says nothing
//! about the program and its version, nor about who is here.

use http::{Method, StatusCode};
use web::{Part, Routes};

use crate::{
    Console, QrCode,
    html::{Element, element},
    joining::Visitor,
    page::Page,
    pages::{paragraph, value},
    texts::{TEXTS, fill},
};

/// Whom people ask for help, as in /.well-known/matrix/support. What is empty is not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// The address of a page with help.
    pub page: String,
    /// An e-mail address.
    pub email: String,
    /// A Matrix id.
    pub user: String,
}

pub(crate) fn routes() -> Routes<Console> {
    Routes::new().plain(Method::GET, "/", landing)
}

/// `GET /`
async fn landing(Part(console): Part<Console>, _: Visitor) -> Page {
    let texts = &TEXTS.landing;
    let server = console.accounts.server_name().as_str();
    let lead = fill(texts.lead, &[("server", server)]);
    let sign_in = element("section")
        .has(element("h2").has(texts.sign_in))
        .has(paragraph("", texts.sign_in_how))
        .has(value("address", &console.address))
        .has(more(texts.sign_in_more, "joined"))
        .has_all(code(&console));
    let content = element("main")
        .has(element("h1").has(server))
        .has(paragraph("lead", lead))
        .has(sign_in)
        .has(
            element("section")
                .has(element("h2").has(texts.join))
                .has(paragraph("", texts.join_how)),
        )
        .has(help(&console.support));
    Page::new(StatusCode::OK, server.to_owned(), content)
}

/// A link to another page of this server; relative, as a proxy may serve us below a path.
fn more(text: &str, to: &str) -> Element {
    element("p").has(element("a").with("href", to).has(text))
}

/// The address as a picture for a phone's camera.
fn code(console: &Console) -> Option<Element> {
    let link = format!("{}/joined", console.address);
    let label = fill(TEXTS.joined.code_label, &[("link", &link)]);
    Some(QrCode::of(&link)?.svg(&label))
}

fn help(support: &Support) -> Element {
    let texts = &TEXTS.landing;
    let matrix_to = |user: &str| format!("https://matrix.to/#/{user}");
    let ways = [
        (&support.page, support.page.clone()),
        (&support.email, format!("mailto:{}", support.email)),
        (&support.user, matrix_to(&support.user)),
    ];
    let links = ways.into_iter().filter(|(shown, _)| !shown.is_empty());
    let links = links.map(|(shown, target)| {
        let link = element("a")
            .with("href", target)
            .with("rel", "noopener noreferrer");
        element("li").has(link.has(shown.as_str()))
    });
    let links: Vec<Element> = links.collect();
    let section = element("section")
        .with("id", "help")
        .has(element("h2").has(texts.help));
    if links.is_empty() {
        return section.has(paragraph("", texts.help_nobody));
    }
    section
        .has(paragraph("", texts.help_how))
        .has(element("ul").with("class", "clients").has_all(links))
}
