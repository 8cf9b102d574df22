//! A web server of the test's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it answers under a path.
#[derive(Clone)]
pub(super) enum Answer {
    /// A whole answer.
    Whole(Vec<u8>),
    /// An answer whose body never ends.
    Endless(Vec<u8>),
    /// An answer that comes byte by byte.
    Slow(Vec<u8>),
    /// Nothing at all.
    Silence,
}

/// It ends when dropped.
pub(super) struct Web {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Web {
    pub(super) async fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        let listening = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, serving.clone()));
            }
        });
        Self {
            address,
            shared,
            listening,
        }
    }

    /// The address of a page.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn answers(&self, path: &str, answer: Answer) {
        let mut answers = self.shared.answers.lock().unwrap();
        answers.insert(path.to_owned(), answer);
    }

    /// Puts something of this type under a path.
    pub(super) fn has(&self, path: &str, content_type: &str, body: impl AsRef<[u8]>) {
        self.answers(
            path,
            Answer::Whole(whole("200 OK", content_type, "", body.as_ref())),
        );
    }

    /// Puts a page under a path.
    pub(super) fn page(&self, path: &str, html: &str) {
        self.has(path, "text/html; charset=utf-8", html);
    }

    /// Sends on who asks for a path.
    pub(super) fn redirects(&self, path: &str, to: &str) {
        let location = format!("location: {to}\r\n");
        self.answers(
            path,
            Answer::Whole(whole("302 Found", "text/plain", &location, b"")),
        );
    }

    /// The requests so far, with their headers, and forgets them.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// An answer's text; `headers` are whole lines.
pub(super) fn whole(status: &str, content_type: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut read = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let Ok(count @ 1..) = stream.read(&mut piece).await else {
            return;
        };
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if !text.contains("\r\n\r\n") {
            continue;
        }
        read.clear();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        shared.asked.lock().unwrap().push(text);
        let answer = shared.answers.lock().unwrap().get(&path).cloned();
        let missing = || {
            Answer::Whole(whole(
                "404 Not Found",
                "text/html",
                "",
                b"<title>no</title>",
            ))
        };
        let is_well = match answer.unwrap_or_else(missing) {
            Answer::Whole(bytes) => stream.write_all(&bytes).await.is_ok(),
            Answer::Endless(head) => {
                let mut is_well = stream.write_all(&head).await.is_ok();
                while is_well {
                    is_well = stream.write_all(&[b' '; 16_384]).await.is_ok();
                }
                false
            }
            Answer::Slow(bytes) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                true
            }
            Answer::Silence => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                false
            }
        };
        if !is_well {
            return;
        }
    }
}
