//! A file system that turns read-only under the server, as one does whose disk has failed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Config, Server, User, escape, run};
use serde_json::json;

/// How large the file system is.
const SIZE: &str = "512M";

/// A file system in a file, mounted in a mount namespace of its own. It needs rights of
/// root: no user namespace may mount a real file system.
struct Mount {
    holder: Child,
    image: PathBuf,
    at: PathBuf,
}

impl Mount {
    fn new(folder: &Path) -> Self {
        let (image, at) = (folder.join("disk.img"), folder.join("data"));
        std::fs::create_dir_all(&at).expect("the folder to mount at");
        run(Command::new("truncate").args(["-s", SIZE]).arg(&image));
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        // The last process keeps the namespace, and ends with this one.
        let hold = ["setpriv", "--pdeathsig", "KILL", "sleep", "infinity"];
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(hold)
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare (of util-linux)");
        let mount = Self { holder, image, at };
        while mount
            .inside(&["true"])
            .status()
            .is_ok_and(|status| !status.success())
        {}
        mount.mount();
        mount
    }

    /// A command in the namespace.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.wrapper()[1..]).args(words);
        command
    }

    /// The words before a command that shall see the file system.
    fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let words = ["nsenter", "--mount", "--target", &holder, "--"];
        words.map(String::from).to_vec()
    }

    fn mount(&self) {
        let options = ["mount", "-o", "loop,errors=remount-ro"];
        run(self.inside(&options).arg(&self.image).arg(&self.at));
    }

    /// Lets it be as after an error that it cannot bear: nothing is written any more, whoever
    /// has files open.
    fn fail(&self) {
        let options = ["mount", "-o", "remount,abort"];
        run(self.inside(&options).arg(&self.at));
    }

    /// Mounts it anew, as after the machine was started again.
    fn again(&self) {
        run(self.inside(&["umount"]).arg(&self.at));
        // 1: errors were corrected; the one that it was left with is one.
        let check = Command::new("e2fsck").arg("-p").arg(&self.image).output();
        let code = check.expect("e2fsck").status.code();
        assert!(matches!(code, Some(0 | 1)), "e2fsck: {code:?}");
        self.mount();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    output.stdout.trim_ascii() == b"0"
}

fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_file_system_that_turns_read_only_loses_nothing() {
    if !is_root() {
        eprintln!("not run: only root may mount a file system");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mount = Mount::new(folder.path());
    let wrapper = mount.wrapper();
    let mut server = Server::on_under(folder.path(), Config::default(), &words(&wrapper));
    let user = server.api().register("writer").await;
    let room = user.public_room().await;
    let mut acknowledged = Vec::new();
    for number in 0..50 {
        acknowledged.push(user.say(&room, &format!("message {number}")).await);
    }

    mount.fail();
    let path = |transaction| {
        let room = escape(&room);
        format!("v3/rooms/{room}/send/m.room.message/{transaction}")
    };
    let body = json!({ "msgtype": "m.text", "body": "after" });
    let refused = user.put(path("after"), body.clone()).await;
    refused.refused_with(&[500, 503]);
    let health = server.api().get("/_cairn/health").await;
    assert_eq!(health.body["ready"], false, "{health:?}");
    assert!(health.text.contains("Read-only file system"), "{health:?}");
    // What is there is read on.
    let page = format!("v3/rooms/{}/messages?dir=b&limit=100", escape(&room));
    let shown = user.get(page).await.ok();
    let shown = harness::event_ids(shown["chunk"].as_array().expect("events"));
    assert!(
        acknowledged
            .iter()
            .all(|event| shown.contains(&event.as_str()))
    );

    server.kill9();
    mount.again();
    server.restart_under(&words(&wrapper));
    let user = User {
        api: server.api().with_token(&user.access_token),
        ..user.clone()
    };
    for event in &acknowledged {
        let path = format!("v3/rooms/{}/event/{}", escape(&room), escape(event));
        user.get(path).await.ok();
    }
    user.put(path("after"), body).await.ok();
    server.stop();
}
