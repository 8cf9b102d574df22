//! A disk that can be filled without harm.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system in memory, in a mount namespace of its own: no rights of root are needed,
/// and nothing of it is left when the last process in it has ended.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts `bytes` over the folder `at`, for those in the namespace alone.
    pub fn mount(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).expect("the folder to mount at");
        // The last process keeps the namespace, and ends with this one.
        let script = "mount -t tmpfs -o mode=700,size=$2 tmpfs \"$1\" && echo mounted \
                      && exec setpriv --pdeathsig KILL sleep infinity";
        let mut holder = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(at)
            .arg(bytes.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (of util-linux)");
        let output = holder.stdout.take().expect("its output");
        let mut line = String::new();
        let _ = BufReader::new(output).read_line(&mut line);
        assert_eq!(
            line.trim(),
            "mounted",
            "no file system can be mounted in a user namespace of its own here"
        );
        Self {
            holder,
            at: at.to_owned(),
        }
    }

    /// The words before a command that shall see the disk.
    pub fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let words = ["nsenter", "--user", "--mount", "--preserve-credentials"];
        let mut words: Vec<String> = words.map(String::from).to_vec();
        words.extend(["--target".to_owned(), holder, "--".to_owned()]);
        words
    }

    /// Where the disk is seen from outside its namespace.
    pub fn seen(&self) -> PathBuf {
        let inside = self.at.strip_prefix("/").expect("an absolute path");
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(inside)
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        // Not `df`, which looks for the mount in the namespace of its own.
        let output = Command::new("stat")
            .args(["--file-system", "--format=%a %S"])
            .arg(self.seen())
            .output()
            .expect("stat");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
        let [blocks, size] = numbers[..] else {
            panic!("stat said {output:?}");
        };
        blocks * size
    }

    /// Takes all room but so many bytes.
    pub fn fill(&self, leaving: u64) {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.seen().join("filler"))
            .expect("the filler");
        let piece = vec![1; 1 << 16];
        let mut length = file.metadata().expect("its length").len();
        loop {
            let free = self.free();
            if free <= leaving {
                return;
            }
            for _ in 0..(free - leaving).div_ceil(piece.len() as u64) {
                if file.write_all_at(&piece, length).is_err() {
                    // There is no more.
                    return;
                }
                length += piece.len() as u64;
            }
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn clear(&self) {
        std::fs::remove_file(self.seen().join("filler")).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
