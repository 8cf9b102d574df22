//! A link between servers that a test can cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a port of this machine, as long as it is not cut.
#[derive(Debug)]
pub struct Link {
    is_whole: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Link {
    /// A link from one port to another. It ends with the test's runtime.
    pub async fn start(from: u16, to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", from))
            .await
            .expect("the port of a link");
        let (is_whole, state) = watch::channel(true);
        let connections: Arc<AtomicUsize> = Arc::default();
        let made = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(stream, to, state.clone()));
            }
        });
        Self {
            is_whole,
            connections,
        }
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends all connections; new ones are ended as soon as they are made.
    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.is_whole.send_replace(true);
    }
}

async fn pass(mut stream: TcpStream, to: u16, mut state: watch::Receiver<bool>) {
    if !*state.borrow() {
        return;
    }
    let Ok(mut other) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut other) => {}
        _ = state.wait_for(|is_whole| !is_whole) => {}
    }
}
