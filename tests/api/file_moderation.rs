//! What administrators do with files: by Synapse's endpoints, and by command.

use harness::{Api, Server, User, pictures};
use reqwest::Method;
use serde_json::{Value, json};

const ADMIN: &str = "/_synapse/admin/v1";

/// A server with an administrator and two others.
async fn house() -> (Server, User, User, User) {
    let server = Server::start();
    let api = server.api();
    let admin = api.register_as("admin").await;
    let (alice, bob) = (api.register_as("alice").await, api.register_as("bob").await);
    server.cairn_json(&["user", "promote", "admin"]);
    (server, admin, alice, bob)
}

/// The same person after a restart of the server, which has cut the connections.
fn anew(server: &Server, user: &User) -> User {
    User {
        api: server.api().with_token(&user.access_token),
        ..user.clone()
    }
}

/// Uploads and gives the media id.
async fn upload(user: &User, bytes: impl Into<reqwest::Body>) -> String {
    let request = user
        .request(Method::POST, "/_matrix/media/v3/upload?filename=a.bin")
        .header("Content-Type", "image/png")
        .body(bytes);
    let answer = user.send_request(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://localhost/").unwrap().to_owned()
}

async fn status(api: &Api, path: &str) -> u16 {
    let response = api.request(Method::GET, path).send().await.unwrap();
    response.status().as_u16()
}

/// Whether somebody gets a file: the status of the download.
async fn download(api: &Api, id: &str) -> u16 {
    status(api, &format!("v1/media/download/localhost/{id}")).await
}

#[tokio::test]
async fn a_quarantined_file_is_there_for_nobody() {
    let (mut server, admin, alice, bob) = house().await;
    let picture = pictures::png(64, 64, 255);
    let id = upload(&alice, picture.clone()).await;
    let large = upload(&alice, vec![7; 100_000]).await;
    let thumbnail = format!("v1/media/thumbnail/localhost/{id}?width=32&height=32");
    assert_eq!(status(&bob, &thumbnail).await, 200);
    for id in [&id, &large] {
        assert_eq!(download(&bob, id).await, 200);
        let path = format!("{ADMIN}/media/quarantine/localhost/{id}");
        bob.post(&path, json!({})).await.refused(403, "M_FORBIDDEN");
        server
            .api()
            .post(&path, json!({}))
            .await
            .refused(401, "M_MISSING_TOKEN");
        assert_eq!(admin.post(&path, json!({})).await.ok(), json!({}));
    }
    // Nobody: the uploader and the administrator neither.
    for api in [&alice.api, &bob.api, &admin.api] {
        for path in [
            format!("v1/media/download/localhost/{id}"),
            format!("v1/media/download/localhost/{id}/name.png"),
            format!("v1/media/download/localhost/{large}"),
            thumbnail.clone(),
            format!("v1/media/thumbnail/localhost/{id}?width=96&height=96"),
        ] {
            api.get(&path).await.refused(404, "M_NOT_FOUND");
        }
    }
    // The same bytes come again: the upload is taken, and given to nobody. A changed cache
    // does not help.
    let again = upload(&bob, picture.clone()).await;
    assert_eq!(download(&bob, &again).await, 404);
    server.restart();
    let (admin, bob) = (anew(&server, &admin), anew(&server, &bob));
    assert_eq!(download(&bob, &again).await, 404);
    let info = admin
        .get(format!("{ADMIN}/media/localhost/{id}"))
        .await
        .ok();
    assert_eq!(info["media_info"]["quarantined_by"], "@admin:localhost");
    assert_eq!(info["media_info"]["user_id"], "@alice:localhost");
    assert_eq!(info["media_info"]["media_length"], picture.len());
    assert_eq!(info["media_info"]["media_type"], "image/png");
    assert_eq!(info["media_info"]["upload_name"], "a.bin");
    assert_eq!(info["media_info"]["safe_from_quarantine"], false);
    let path = format!("{ADMIN}/media/unquarantine/localhost/{id}");
    bob.post(&path, json!({})).await.refused(403, "M_FORBIDDEN");
    admin.post(&path, json!({})).await.ok();
    for id in [&id, &again] {
        assert_eq!(download(&bob, id).await, 200);
    }
    assert_eq!(status(&bob, &thumbnail).await, 200);
    assert_eq!(download(&bob, &large).await, 404);
    let missing = format!("{ADMIN}/media/quarantine/localhost/nothing");
    admin
        .post(missing, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn changes_of_quarantine_are_listed_in_their_order() {
    let (_server, admin, alice, _bob) = house().await;
    let first = upload(&alice, "first").await;
    let second = upload(&alice, "second").await;
    let path = format!("{ADMIN}/media/quarantine_changes");
    let none = admin.get(&path).await.ok();
    assert_eq!(none, json!({ "next_batch": 0, "changes": [] }));
    for (verb, id) in [
        ("quarantine", &first),
        ("quarantine", &second),
        ("unquarantine", &first),
        // Nothing changes any more.
        ("unquarantine", &first),
    ] {
        let path = format!("{ADMIN}/media/{verb}/localhost/{id}");
        admin.post(path, json!({})).await.ok();
    }
    let change = |id: &str, quarantined: bool| json!({ "origin": "localhost", "media_id": id, "quarantined": quarantined });
    let all = admin.get(&path).await.ok();
    let expected = [
        change(&first, true),
        change(&second, true),
        change(&first, false),
    ];
    assert_eq!(all["changes"], json!(expected));
    let next = all["next_batch"].as_u64().unwrap();
    let rest = admin.get(format!("{path}?from={next}")).await.ok();
    assert_eq!(rest, json!({ "next_batch": next, "changes": [] }));
    let person = format!("{ADMIN}/user/@alice:localhost/media/quarantine");
    admin.post(person, json!({})).await.ok();
    let rest = admin.get(format!("{path}?from={next}")).await.ok();
    assert_eq!(rest["changes"], json!([change(&first, true)]));
    alice.get(&path).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_persons_files_go_into_quarantine_but_for_protected_ones() {
    let (_server, admin, alice, bob) = house().await;
    let (first, second) = (upload(&alice, "one").await, upload(&alice, "two").await);
    let (kept, bobs) = (upload(&alice, "kept").await, upload(&bob, "bob's").await);
    let protect = format!("{ADMIN}/media/protect/{kept}");
    bob.post(&protect, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    admin.post(&protect, json!({})).await.ok();
    let path = format!("{ADMIN}/user/@alice:localhost/media/quarantine");
    bob.post(&path, json!({})).await.refused(403, "M_FORBIDDEN");
    let answer = admin.post(&path, json!({})).await.ok();
    assert_eq!(answer, json!({ "num_quarantined": 2 }));
    for (id, expected) in [(&first, 404), (&second, 404), (&kept, 200), (&bobs, 200)] {
        assert_eq!(download(&bob, id).await, expected);
    }
    admin
        .post(format!("{ADMIN}/media/unprotect/{kept}"), json!({}))
        .await
        .ok();
    let answer = admin.post(&path, json!({})).await.ok();
    assert_eq!(answer, json!({ "num_quarantined": 1 }));
    assert_eq!(download(&bob, &kept).await, 404);
    let nobody = format!("{ADMIN}/user/@nobody:localhost/media/quarantine");
    admin
        .post(nobody, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    let nothing = format!("{ADMIN}/media/protect/nothing");
    admin
        .post(nothing, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_rooms_files_are_those_that_its_events_name() {
    let (_server, admin, alice, bob) = house().await;
    let room = alice.create_room(json!({})).await;
    let (picture, small, avatar, other) = (
        upload(&alice, "picture").await,
        upload(&alice, "small").await,
        upload(&alice, "avatar").await,
        upload(&alice, "other").await,
    );
    let uri = |id: &str| format!("mxc://localhost/{id}");
    let message = json!({
        "msgtype": "m.image", "body": uri(&other), "url": uri(&picture),
        "info": { "thumbnail_url": uri(&small) },
    });
    let place = format!("v3/rooms/{room}/send/m.room.message/1");
    alice.put(place, message).await.ok();
    let place = format!("v3/rooms/{room}/state/m.room.avatar");
    alice.put(place, json!({ "url": uri(&avatar) })).await.ok();
    let place = format!("v3/rooms/{room}/send/m.room.message/2");
    let elsewhere = "mxc://elsewhere.example/abc";
    alice
        .put(
            place,
            json!({ "msgtype": "m.file", "body": "x", "url": elsewhere }),
        )
        .await
        .ok();
    let request = alice
        .request(
            Method::POST,
            &format!("/_matrix/media/v3/upload?cairn.room_id={room}"),
        )
        .body("encrypted");
    let encrypted = alice.send_request(request).await.ok();
    let encrypted = encrypted["content_uri"].as_str().unwrap().to_owned();
    let list = format!("{ADMIN}/room/{room}/media");
    bob.get(&list).await.refused(403, "M_FORBIDDEN");
    let listed = admin.get(&list).await.ok();
    let mut local: Vec<String> = serde_json::from_value(listed["local"].clone()).unwrap();
    local.sort();
    let mut expected = vec![uri(&picture), uri(&small), uri(&avatar), encrypted.clone()];
    expected.sort();
    assert_eq!(local, expected);
    assert_eq!(listed["remote"], json!([elsewhere]));
    let answer = admin
        .post(format!("{ADMIN}/room/{room}/media/quarantine"), json!({}))
        .await;
    assert_eq!(answer.ok(), json!({ "num_quarantined": 4 }));
    for (id, expected) in [
        (&picture, 404),
        (&small, 404),
        (&avatar, 404),
        (&other, 200),
    ] {
        assert_eq!(download(&alice, id).await, expected);
    }
    // The old path; there is nothing left to do.
    let answer = admin
        .post(format!("{ADMIN}/quarantine_media/{room}"), json!({}))
        .await;
    assert_eq!(answer.ok(), json!({ "num_quarantined": 0 }));
    let unknown = format!("{ADMIN}/room/!nothing:localhost/media");
    admin.get(unknown).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_files_bytes_go_with_the_last_that_has_them() {
    let (server, admin, alice, bob) = house().await;
    let bytes = vec![3; 50_000];
    let (first, second) = (
        upload(&alice, bytes.clone()).await,
        upload(&bob, bytes).await,
    );
    let stored = || stored_files(&server.data_dir().join("media"));
    assert_eq!(stored(), 1);
    let path = |id: &str| format!("{ADMIN}/media/localhost/{id}");
    bob.delete(path(&first), Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
    let answer = admin.delete(path(&first), Value::Null).await.ok();
    assert_eq!(answer, json!({ "deleted_media": [first], "total": 1 }));
    assert_eq!(download(&alice, &first).await, 404);
    assert_eq!(download(&alice, &second).await, 200);
    assert_eq!(stored(), 1);
    admin.delete(path(&second), Value::Null).await.ok();
    assert_eq!(download(&alice, &second).await, 404);
    assert_eq!(stored(), 0);
    admin
        .delete(path(&second), Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
    let elsewhere = format!("{ADMIN}/media/elsewhere.example/abc");
    admin
        .delete(elsewhere, Value::Null)
        .await
        .refused(400, "M_INVALID_PARAM");
}

fn stored_files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                stored_files(&path)
            } else {
                1
            }
        })
        .sum()
}

#[tokio::test]
async fn a_persons_files_are_listed_in_pages_and_deleted() {
    let (_server, admin, alice, bob) = house().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(upload(&alice, format!("file {number}")).await);
    }
    let others = upload(&bob, "bob's").await;
    let path = format!("{ADMIN}/users/@alice:localhost/media");
    alice.get(&path).await.refused(403, "M_FORBIDDEN");
    let page = admin.get(format!("{path}?limit=2")).await.ok();
    let listed = |page: &Value| -> Vec<String> {
        let media = page["media"].as_array().unwrap().iter();
        media
            .map(|one| one["media_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(page["total"], 5);
    assert_eq!(page["next_token"], 2);
    assert_eq!(listed(&page).len(), 2);
    let page = admin.get(format!("{path}?from=4&limit=2")).await.ok();
    assert_eq!((listed(&page).len(), page.get("next_token")), (1, None));
    let all = admin.get(format!("{path}?dir=f")).await.ok();
    let (mut found, mut expected) = (listed(&all), ids.clone());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    admin
        .get(format!("{path}?dir=x"))
        .await
        .refused(400, "M_INVALID_PARAM");
    let gone = admin
        .delete(format!("{path}?limit=2&dir=f"), Value::Null)
        .await
        .ok();
    assert_eq!(gone["total"], 2);
    admin.delete(&path, Value::Null).await.ok();
    for id in &ids {
        assert_eq!(download(&alice, id).await, 404);
    }
    assert_eq!(download(&alice, &others).await, 200);
    assert_eq!(
        admin.get(&path).await.ok(),
        json!({ "media": [], "total": 0 })
    );
}

#[tokio::test]
async fn old_files_go_but_for_pictures_of_people_and_rooms() {
    let (_server, admin, alice, _) = house().await;
    let (face, hall, old, short) = (
        upload(&alice, vec![1; 500]).await,
        upload(&alice, vec![2; 500]).await,
        upload(&alice, vec![3; 500]).await,
        upload(&alice, vec![4; 50]).await,
    );
    let uri = |id: &str| format!("mxc://localhost/{id}");
    alice
        .put(
            "v3/profile/@alice:localhost/avatar_url",
            json!({ "avatar_url": uri(&face) }),
        )
        .await
        .ok();
    let room = alice.create_room(json!({})).await;
    let place = format!("v3/rooms/{room}/state/m.room.avatar");
    alice.put(place, json!({ "url": uri(&hall) })).await.ok();
    let path = format!("{ADMIN}/media/delete");
    admin
        .post(&path, json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
    let none = admin
        .post(format!("{path}?before_ts=1000"), json!({}))
        .await
        .ok();
    assert_eq!(none, json!({ "deleted_media": [], "total": 0 }));
    let far = "before_ts=9999999999999";
    alice
        .post(format!("{path}?{far}"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let gone = admin
        .post(format!("{path}?{far}&size_gt=100"), json!({}))
        .await
        .ok();
    assert_eq!(gone, json!({ "deleted_media": [old], "total": 1 }));
    for (id, expected) in [(&face, 200), (&hall, 200), (&short, 200), (&old, 404)] {
        assert_eq!(download(&alice, id).await, expected);
    }
    let old_path = format!("{ADMIN}/media/localhost/delete?{far}&keep_profiles=false");
    let gone = admin.post(old_path, json!({})).await.ok();
    assert_eq!(gone["total"], 3);
    let purged = admin
        .post(format!("{ADMIN}/purge_media_cache?{far}"), json!({}))
        .await
        .ok();
    assert_eq!(purged, json!({ "deleted": 0 }));
}

#[tokio::test]
async fn the_command_line_does_the_same_running_or_not() {
    let (mut server, _, alice, bob) = house().await;
    let id = upload(&alice, "by command").await;
    let uri = format!("mxc://localhost/{id}");
    let listed = server.cairn_json(&["media", "list", "--user", "alice"]);
    let file = &listed["files"][0];
    assert_eq!(
        (&file["uri"], &file["length"]),
        (&uri.as_str().into(), &10.into())
    );
    assert_eq!(file["uploader"], "@alice:localhost");
    let hash = file["sha256"].as_str().unwrap().to_owned();
    assert_eq!(
        server.cairn_json(&["media", "show", &uri])["files"][0],
        *file
    );
    let answer = server.cairn_json(&["media", "quarantine", "--hash", &hash]);
    assert_eq!(answer, json!({ "quarantined": 1 }));
    assert_eq!(download(&bob, &id).await, 404);
    assert_eq!(download(&bob, &upload(&bob, "by command").await).await, 404);
    server.stop();
    let shown = server.cairn_json(&["media", "show", &uri]);
    assert_eq!(shown["files"][0]["quarantined"], true);
    let answer = server.cairn_json(&["media", "unquarantine", &uri]);
    assert_eq!(answer, json!({ "unquarantined": 1 }));
    server.restart();
    let bob = anew(&server, &bob);
    assert_eq!(download(&bob, &id).await, 200);
    let told = server.cairn(&["media", "delete", &uri]);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        format!("Deleted {uri}\n")
    );
    assert_eq!(download(&bob, &id).await, 404);
    // Bytes that nobody has yet.
    let later = "5c7d2b4e".repeat(8);
    server.cairn_json(&["media", "quarantine", "--hash", &later]);
    server.cairn_json(&["media", "unquarantine", "--hash", &later]);
    for words in [
        &["media", "show", "mxc://localhost/nothing"][..],
        &["media", "delete", &uri],
        &["media", "list", "--user", "nobody"],
        &["media", "list", "--room", "!nothing:localhost"],
        &["media", "list", "--hash", "abc"],
        &["media", "quarantine", "nonsense"],
    ] {
        let told = server.cairn(words);
        assert_eq!(told.status.code(), Some(1), "{words:?} {told:?}");
    }
    let told = server.cairn(&["media", "delete"]);
    assert_eq!(told.status.code(), Some(2), "{told:?}");
    // What was done stands in the log.
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    for part in [
        "files put into quarantine",
        "file deleted by an administrator",
        "the command line",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[tokio::test]
async fn a_suspended_person_uploads_nothing_and_makes_no_alias() {
    let (server, _, alice, _) = house().await;
    let room = alice.create_room(json!({})).await;
    let announced = alice.post("/_matrix/media/v1/create", json!({})).await.ok();
    let announced = announced["content_uri"].as_str().unwrap().to_owned();
    server.cairn_json(&["user", "suspend", "alice"]);
    for (method, path) in [
        (Method::POST, "/_matrix/media/v3/upload".to_owned()),
        (
            Method::PUT,
            format!(
                "/_matrix/media/v3/upload/{}",
                announced.strip_prefix("mxc://").unwrap()
            ),
        ),
    ] {
        for length in [10, 400_000] {
            let request = alice.request(method.clone(), &path).body(vec![1; length]);
            let answer = alice.send_request(request).await;
            answer.refused(403, "M_USER_SUSPENDED");
        }
    }
    alice
        .post("/_matrix/media/v1/create", json!({}))
        .await
        .refused(403, "M_USER_SUSPENDED");
    let alias = "v3/directory/room/%23hall:localhost";
    alice
        .put(alias, json!({ "room_id": room }))
        .await
        .refused(403, "M_USER_SUSPENDED");
    server.cairn_json(&["user", "unsuspend", "alice"]);
    alice.put(alias, json!({ "room_id": room })).await.ok();
    upload(&alice, "free again").await;
}
