//! An HTTP/1.1 client that does next to nothing, so that the load costs little of the
//! processors that it shares with the server.

use std::fmt;
use std::io::{Error, ErrorKind, Result};

use harness::User;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a request has no answer that counts.
#[derive(Debug)]
pub enum Failure {
    /// The connection broke.
    Broken(Error),
    /// The answer was no 200: its status, and its body as text.
    Refused(u16, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(formatter, "the connection broke: {error}"),
            Self::Refused(status, body) => write!(formatter, "{status} {body}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// Where a server listens, and who speaks to it.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    token: String,
}

/// A connection that stays open; one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// All header lines of a request but its length.
    headers: String,
    request: Vec<u8>,
    received: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    /// The user's requests to the server at `url`, which may have moved since the user
    /// was registered: `http://ADDRESS:PORT`.
    pub fn new(url: &str, user: &User) -> Self {
        Self::with_token(url, &user.access_token)
    }

    /// Requests with a token, be it an application service's.
    pub fn with_token(url: &str, token: &str) -> Self {
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            token: token.to_owned(),
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If nobody takes it.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            headers: format!(
                "Host: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
                self.address, self.token
            ),
            request: Vec::new(),
            received: Vec::with_capacity(READ_BYTES),
            body: Vec::new(),
        })
    }
}

impl Connection {
    /// `GET path` and the body of the 200 that came; panics when another status came.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn get(&mut self, path: &str) -> Result<&[u8]> {
        self.exchange("GET", path, b"").await
    }

    /// `POST path` and the body of the 200 that came; panics when another status came.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn post(&mut self, path: &str, body: &[u8]) -> Result<&[u8]> {
        self.exchange("POST", path, body).await
    }

    /// `PUT path` and the body of the 200 that came; panics when another status came.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn put(&mut self, path: &str, body: &str) -> Result<&[u8]> {
        self.exchange("PUT", path, body.as_bytes()).await
    }

    /// As [`Connection::ask`], but panics when the answer is no 200.
    async fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> Result<&[u8]> {
        match self.send(method, path, body).await? {
            200 => Ok(&self.body),
            status => panic!(
                "{method} {path} -> {status} {}",
                String::from_utf8_lossy(&self.body)
            ),
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection broke, and if the answer is no 200.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::result::Result<&[u8], Failure> {
        match self.send(method, path, body).await? {
            200 => Ok(&self.body),
            status => {
                let text = String::from_utf8_lossy(&self.body).into_owned();
                Err(Failure::Refused(status, text))
            }
        }
    }

    /// Sends a request and reads the whole answer into `body`. Gives the status.
    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Result<u16> {
        use std::io::Write;
        self.request.clear();
        self.received.clear();
        let length = body.len();
        let _ = write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{}Content-Length: {length}\r\n\r\n",
            self.headers
        );
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        let head = self.read_head().await?;
        if head.chunked {
            self.read_chunks(head.length).await?;
        } else {
            self.read_until(head.length + head.body_length).await?;
            self.body.clear();
            let whole = head.length..head.length + head.body_length;
            self.body.extend_from_slice(&self.received[whole]);
        }
        Ok(head.status)
    }

    /// Receives until the answer's header is whole.
    async fn read_head(&mut self) -> Result<Head> {
        loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                return Head::parse(&self.received[..end], end + 4);
            }
            self.receive().await?;
        }
    }

    /// Receives until `length` bytes are there.
    async fn read_until(&mut self, length: usize) -> Result<()> {
        while self.received.len() < length {
            self.receive().await?;
        }
        Ok(())
    }

    /// Reads a body in chunks, the first of which starts at `at`.
    async fn read_chunks(&mut self, mut at: usize) -> Result<()> {
        self.body.clear();
        loop {
            let Some(line) = find(&self.received[at..], b"\r\n") else {
                self.receive().await?;
                continue;
            };
            let size = std::str::from_utf8(&self.received[at..at + line])
                .ok()
                .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
                .ok_or(ErrorKind::InvalidData)?;
            let from = at + line + 2;
            self.read_until(from + size + 2).await?;
            self.body
                .extend_from_slice(&self.received[from..from + size]);
            at = from + size + 2;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn receive(&mut self) -> Result<()> {
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// What an answer's header says about its body.
struct Head {
    status: u16,
    /// Of the header with its empty line, in bytes.
    length: usize,
    body_length: usize,
    chunked: bool,
}

impl Head {
    fn parse(bytes: &[u8], length: usize) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, text))?;
        let mut head = Self {
            status,
            length,
            body_length: 0,
            chunked: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.body_length = value.trim().parse().map_err(|_| ErrorKind::InvalidData)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        Ok(head)
    }
}

/// Where `part` first occurs in `whole`.
pub fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(step) = whole[from..].iter().position(|byte| *byte == first) {
        let at = from + step;
        if whole[at..].starts_with(part) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// How often `part` occurs in `whole`.
pub fn count(whole: &[u8], part: &[u8]) -> usize {
    let (mut found, mut from) = (0, 0);
    while let Some(at) = find(&whole[from..], part) {
        found += 1;
        from += at + part.len();
    }
    found
}
