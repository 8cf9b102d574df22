//! Files: what small ones cost, and how fast large ones come, beside a server that does
//! nothing but send a file.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::{Server, User};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Connection, find};
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number};

/// How many upload or download small files at the same time.
const CONNECTIONS: usize = 16;
/// The length of a small file.
const SMALL: usize = 10 * 1024;
/// The length of a large one.
const LARGE: usize = 1024 * 1024;
/// How many small files are downloaded by turns.
const FILES: u64 = 500;
/// How long one of the two servers sends before it is the other's turn.
const TURN: Duration = Duration::from_millis(100);

/// How much the plain file server reads at once.
const PIECE: usize = 256 * 1024;

const UPLOAD: &str = "/_matrix/media/v3/upload";

/// Measures what the options want of files.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if !options.wants(Measure::SmallFiles) && !options.wants(Measure::LargeFiles) {
        return;
    }
    let folder = options.new_folder();
    let server = people::start(folder.path());
    let user = people::register(&server, "photographer", 1).await.remove(0);
    if options.wants(Measure::SmallFiles) {
        small(options, report, &server, &user).await;
    }
    if options.wants(Measure::LargeFiles) {
        large(options, report, &server, &user, folder.path()).await;
    }
}

/// The server's CPU time for uploads and downloads of 10 KiB.
async fn small(options: &Options, report: &mut Report, server: &Server, user: &User) {
    eprintln!("measuring small files");
    let next = Cell::new(0);
    let mut connection = connect(server, user).await;
    let mut paths = Vec::new();
    for _ in 0..FILES {
        paths.push(upload(&mut connection, &file(&next, SMALL)).await);
    }
    let (mut uploads, mut downloads) = (Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        let run = run(options, server, user, async |connection| {
            upload(connection, &file(&next, SMALL)).await;
        });
        uploads.push(run.await);
        let at = Cell::new(0);
        let run = run_downloads(options, server, user, &paths, &at);
        downloads.push(run.await);
    }
    for (name, runs) in [("uploads", uploads), ("downloads", downloads)] {
        let costs: Vec<f64> = runs.iter().map(|run| run.cost).collect();
        let rates: Vec<f64> = runs.iter().map(|run| run.rate).collect();
        report.add(
            format!("10 KiB {name}, {CONNECTIONS} at a time: server CPU each"),
            "ms",
            Target::AtMost(0.15),
            &costs,
            format!("{} /s", number(median(&rates))),
        );
    }
}

async fn run_downloads(
    options: &Options,
    server: &Server,
    user: &User,
    paths: &[String],
    at: &Cell<usize>,
) -> Run {
    run(options, server, user, async |connection| {
        at.set(at.get() + 1);
        let body = connection.get(&paths[at.get() % paths.len()]).await;
        assert_eq!(body.expect("a file").len(), SMALL);
    })
    .await
}

/// What one run of many connections came to.
struct Run {
    /// Server CPU for one request, in milliseconds.
    cost: f64,
    /// Requests a second.
    rate: f64,
}

/// Each connection does `work` again and again.
async fn run(
    options: &Options,
    server: &Server,
    user: &User,
    work: impl AsyncFn(&mut Connection),
) -> Run {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(connect(server, user).await);
    }
    let (done, start) = (Cell::new(0_u64), Instant::now());
    let cpu = cpu_time(server.process_id());
    let (work, counted) = (&work, &done);
    let working = connections.into_iter().map(|mut connection| async move {
        while start.elapsed() < options.sending() {
            work(&mut connection).await;
            counted.set(counted.get() + 1);
        }
    });
    join_all(working).await;
    let seconds = start.elapsed().as_secs_f64();
    Run {
        cost: (cpu_time(server.process_id()) - cpu) / done.get() as f64,
        rate: done.get() as f64 / seconds,
    }
}

/// Runs all of them at the same time, on this thread.
async fn join_all(work: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut waiting: Vec<_> = work.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| future.as_mut().poll(context).is_pending());
        match waiting.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

async fn connect(server: &Server, user: &User) -> Connection {
    let client = Client::new(&server.url(), user);
    client.connect().await.expect("a connection")
}

/// Uploads and gives the path of the download.
async fn upload(connection: &mut Connection, bytes: &[u8]) -> String {
    const URI: &[u8] = b"mxc://";
    let body = connection.post(UPLOAD, bytes).await.expect("an upload");
    let uri = &body[find(body, URI).expect("an mxc URI") + URI.len()..];
    let uri = &uri[..find(uri, b"\"").expect("its end")];
    let place = String::from_utf8_lossy(uri);
    format!("/_matrix/client/v1/media/download/{place}")
}

/// A file that no other in this process is equal to.
fn file(next: &Cell<u64>, length: usize) -> Vec<u8> {
    next.set(next.get() + 1);
    let mut bytes = vec![0x5a; length];
    bytes[..8].copy_from_slice(&next.get().to_le_bytes());
    bytes
}

/// The time of downloads of 1 MiB, in that of a plain file server.
///
/// The two take short turns, and each turn is compared with its neighbour: the machine
/// is not always equally fast.
async fn large(
    options: &Options,
    report: &mut Report,
    server: &Server,
    user: &User,
    folder: &Path,
) {
    eprintln!("measuring large files");
    let bytes = file(&Cell::new(0), LARGE);
    let mut connection = connect(server, user).await;
    let path = upload(&mut connection, &bytes).await;
    let plain = folder.join("plain-file");
    std::fs::write(&plain, &bytes).expect("a file");
    let plain_url = serve(plain);
    let mut beside = Client::new(&plain_url, user)
        .connect()
        .await
        .expect("a connection");
    let (mut ratios, mut times, mut plain_times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut count) = (0.0, 0);
    for _ in 0..options.runs() {
        let mut turns = Vec::new();
        let start = Instant::now();
        while start.elapsed() < options.sending() {
            let before = cpu_time(server.process_id());
            let ours = turn(&mut connection, &path).await;
            cpu += cpu_time(server.process_id()) - before;
            count += ours.len();
            let plain = turn(&mut beside, "/").await;
            turns.push(median(&ours) / median(&plain));
            times.extend(ours);
            plain_times.extend(plain);
        }
        ratios.push(median(&turns));
    }
    report.add(
        "1 MiB downloads: time",
        "of a plain file server",
        Target::AtMost(1.1),
        &ratios,
        format!(
            "{} ms, the plain one {} ms; server CPU {} ms each",
            number(median(&times)),
            number(median(&plain_times)),
            number(cpu / count as f64)
        ),
    );
}

/// Downloads for a while; gives how long each took, in milliseconds.
async fn turn(connection: &mut Connection, path: &str) -> Vec<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < TURN {
        let before = Instant::now();
        let body = connection.get(path).await.expect("a file");
        assert_eq!(body.len(), LARGE);
        times.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    times
}

/// Sends `file` to whoever asks for anything, from threads of its own. Gives its URL.
fn serve(file: PathBuf) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        threads.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(send_on(stream, file.clone()));
            }
        });
    });
    format!("http://{address}")
}

/// Answers each request on a connection with the file.
async fn send_on(mut stream: TcpStream, file: PathBuf) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        while find(&request, b"\r\n\r\n").is_none() {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        request.clear();
        let file = File::open(&file).await?;
        let length = file.metadata().await?.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        tokio::io::copy_buf(&mut BufReader::with_capacity(PIECE, file), &mut stream).await?;
    }
}
