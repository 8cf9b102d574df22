//! Speaking to a running server over its Unix socket.

use std::path::Path;

use actions::Administration;
use bytes::Bytes;
use http::{Method, Request};
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
    // No file, or one that a killed server left: nobody is there.
    let Ok(stream) = UnixStream::connect(path).await else {
        return Ok(None);
    };
    let gone = |error: &dyn std::fmt::Display| {
        Failure::Other(format!("the running server did not answer: {error}"))
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| gone(&error))?;
    let body = serde_json::to_vec(wish).map_err(|error| gone(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(admin_api::ADMINISTRATION)
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
    let (status, bytes) = answered.map_err(|error| gone(&error))?;
    let answer: Value = serde_json::from_slice(&bytes).map_err(|error| gone(&error))?;
    if status.is_success() {
        return Ok(Some(answer));
    }
    let words = answer["error"].as_str().unwrap_or("the server refused");
    Err(Failure::Other(words.to_owned()))
}
