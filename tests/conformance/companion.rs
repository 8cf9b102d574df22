//! A web server beside the homeserver: a push gateway, an application service of a bridge,
//! and a page with a picture, all that the homeserver asks others for.

use std::net::SocketAddr;

use harness::pictures;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The bridge's token for the homeserver.
pub(crate) const SERVICE_TOKEN: &str = "the-bridge's-token-for-the-homeserver";

/// Starts it; it runs as long as the process.
pub(crate) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

/// The registration of the bridge, as the homeserver's operator has it.
pub(crate) fn registration(address: SocketAddr) -> String {
    format!(
        "id: bridge\nurl: http://{address}\nas_token: {SERVICE_TOKEN}\n\
         hs_token: the-homeserver's-token-for-the-bridge\nsender_localpart: bridge\n\
         rate_limited: false\nprotocols: [telegraph]\nnamespaces:\n  users:\n  \
         - {{ exclusive: true, regex: '@telegraph_.*:localhost' }}\n  \
         aliases:\n  - {{ exclusive: true, regex: '#telegraph_.*:localhost' }}\n  rooms: []\n"
    )
}

async fn serve(mut stream: TcpStream) {
    let mut read = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let Ok(count @ 1..) = stream.read(&mut piece).await else {
            return;
        };
        read.extend_from_slice(&piece[..count]);
        let Some(path) = whole_request(&read) else {
            continue;
        };
        let (content_type, body) = answer(&path);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        let whole = [head.into_bytes(), body].concat();
        // The homeserver may have gone away, which is its matter.
        let _ = stream.write_all(&whole).await;
        return;
    }
}

/// The path of a request that is there with its body.
fn whole_request(read: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(read);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let is_whole = read.len() >= head.len() + 4 + length.unwrap_or(0);
    let path = head.split(' ').nth(1)?;
    is_whole.then(|| path.to_owned())
}

fn answer(path: &str) -> (&'static str, Vec<u8>) {
    let json = |body: Value| ("application/json", body.to_string().into_bytes());
    let fields = json!({ "station": "Ulm" });
    let path = path.split('?').next().unwrap_or_default();
    if path == "/page" {
        return ("text/html; charset=utf-8", PAGE.as_bytes().to_vec());
    }
    if path == "/picture.png" {
        return ("image/png", pictures::png(32, 24, 255));
    }
    if path.contains("/thirdparty/protocol/") {
        let field = json!({ "regexp": "[A-Z][a-z]+", "placeholder": "Ulm" });
        return json(json!({
            "user_fields": ["station"],
            "location_fields": ["station"],
            "icon": "mxc://localhost/icon",
            "field_types": { "station": field },
            "instances": [{
                "desc": "The telegraph", "icon": "mxc://localhost/icon",
                "fields": fields, "network_id": "telegraph",
            }],
        }));
    }
    if path.contains("/thirdparty/location") {
        let alias = "#telegraph_ulm:localhost";
        let location = json!({ "alias": alias, "protocol": "telegraph", "fields": fields });
        return json(json!([location]));
    }
    if path.contains("/thirdparty/user") {
        let user = "@telegraph_ulm:localhost";
        let user = json!({ "userid": user, "protocol": "telegraph", "fields": fields });
        return json(json!([user]));
    }
    json(json!({}))
}

const PAGE: &str = r#"<!doctype html><html><head><title>A page</title>
<meta property="og:title" content="A page"><meta property="og:description" content="About it">
<meta property="og:image" content="/picture.png"></head><body>Words</body></html>"#;
