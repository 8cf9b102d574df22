//! Files: uploads, downloads, thumbnails, and what hostile people send instead.

mod downloads;
mod hostile;
mod images;
mod kills;
mod thumbnails;
mod uploads;

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Answer, Api, Server, User};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A file or thumbnail that was fetched.
struct Fetched {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Fetched {
    /// A header's value, empty when it is missing.
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    /// The error code of a refusal.
    fn errcode(&self) -> String {
        let body: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        body["errcode"].as_str().unwrap_or("none").to_owned()
    }

    #[track_caller]
    fn refused(&self, status: u16, errcode: &str) {
        let found = (self.status, self.errcode());
        assert_eq!(found, (status, errcode.to_owned()), "{:?}", self.headers);
    }
}

/// `GET path` with these headers.
async fn fetch_with(api: &Api, path: &str, headers: &[(&str, &str)]) -> Fetched {
    let mut request = api.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    Fetched {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        bytes: response.bytes().await.expect("a whole body").to_vec(),
    }
}

async fn fetch(api: &Api, path: &str) -> Fetched {
    fetch_with(api, path, &[]).await
}

/// Uploads and gives the answer; `query` stands behind the path.
async fn try_upload(
    api: &Api,
    query: &str,
    content_type: &str,
    bytes: impl Into<reqwest::Body>,
) -> Answer {
    let path = format!("/_matrix/media/v3/upload{query}");
    let mut request = api.request(Method::POST, &path).body(bytes);
    if !content_type.is_empty() {
        request = request.header("Content-Type", content_type);
    }
    api.send_request(request).await
}

/// Uploads and gives the path of the download behind `download/` or `thumbnail/`:
/// server name and media id.
async fn upload(user: &User, content_type: &str, bytes: impl Into<reqwest::Body>) -> String {
    let answer = try_upload(user, "", content_type, bytes).await.ok();
    place(&answer)
}

/// What stands behind `mxc://` in an answer.
fn place(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().expect("a content_uri");
    uri.strip_prefix("mxc://").expect("an mxc URI").to_owned()
}

async fn download(user: &User, place: &str) -> Fetched {
    fetch(user, &format!("v1/media/download/{place}")).await
}

/// `PUT` of what was announced before.
async fn put(user: &User, place: &str, bytes: &'static [u8]) -> Answer {
    let path = format!("/_matrix/media/v3/upload/{place}");
    user.send_request(user.request(Method::PUT, &path).body(bytes))
        .await
}

/// The files in the server's folder for files that lie below `name` there.
fn files(server: &Server, name: &str) -> Vec<PathBuf> {
    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                below(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&server.data_dir().join("media").join(name), &mut found);
    found
}

/// The files that hold the bytes of uploads.
fn contents(server: &Server) -> Vec<PathBuf> {
    let folder = server.data_dir().join("media");
    let mut all = files(server, "");
    all.retain(|path| {
        !path.starts_with(folder.join("unfinished")) && !path.starts_with(folder.join("thumbnails"))
    });
    all
}

/// Bytes that look random and are another's for each number.
fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
