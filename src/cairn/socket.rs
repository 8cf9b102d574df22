//! Speaking to a running server over its Unix socket.

use std::path::Path;

use actions::Administration;
use admin_api::Order;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::verbs::Failure;

/// Asks the server that listens at `path`; `None` if none does.
///
/// # Errors
/// What the server refuses, in its words; or that it does not answer.
pub(crate) async fn ask(path: &Path, wish: &Administration) -> Result<Option<Value>, Failure> {
    ask_because(path, wish, None).await
}

/// The same for a reason.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn ask_because(
    path: &Path,
    wish: &Administration,
    reason: Option<String>,
) -> Result<Option<Value>, Failure> {
    let order = Order {
        wish: wish.clone(),
        reason,
    };
    let body = serde_json::to_vec(&order).map_err(|error| gone(&error))?;
    let asked = (Method::POST, admin_api::ADMINISTRATION);
    let Some((status, body)) = exchange(path, asked, body).await? else {
        return Ok(None);
    };
    let answer = json_of(&body)?;
    if status.is_success() {
        return Ok(Some(answer));
    }
    let words = answer["error"].as_str().unwrap_or("the server refused");
    Err(Failure::Other(words.to_owned()))
}

/// What the server that listens at `path` says at `page`, whatever its status; `None` if
/// none listens.
///
/// # Errors
/// That it does not answer.
pub(crate) async fn get(path: &Path, page: &str) -> Result<Option<Value>, Failure> {
    let answer = exchange(path, (Method::GET, page), Vec::new()).await?;
    answer.map(|(_, body)| json_of(&body)).transpose()
}

/// The same where the page is text.
///
/// # Errors
/// As [`get`].
pub(crate) async fn get_text(path: &Path, page: &str) -> Result<Option<String>, Failure> {
    let answer = exchange(path, (Method::GET, page), Vec::new()).await?;
    Ok(answer.map(|(_, body)| String::from_utf8_lossy(&body).into_owned()))
}

fn json_of(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| gone(&error))
}

fn gone(error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("the running server did not answer: {error}"))
}

async fn exchange(
    path: &Path,
    (method, page): (Method, &str),
    body: Vec<u8>,
) -> Result<Option<(StatusCode, Bytes)>, Failure> {
    // No file, or one that a killed server left: nobody is there.
    let Ok(stream) = UnixStream::connect(path).await else {
        return Ok(None);
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| gone(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(page)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| gone(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, bytes))
    };
    let answered = tokio::select! {
        answered = exchange => answered,
        ended = connection => Err(match ended {
            Err(error) => error,
            Ok(()) => return Err(gone(&"it closed the connection")),
        }),
    };
    answered.map(Some).map_err(|error| gone(&error))
}
