//! The console's pages about people beyond their accounts: tables, departments, partners, ends,
//! limits, and the handover of rooms.

use harness::{Clerk, PASSWORD, eventually};
use serde_json::json;

use crate::console::{audit, clerk, house};

#[tokio::test]
async fn a_pasted_table_is_looked_at_then_done_then_people_are_invited() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    helpdesk
        .open("/console/people")
        .await
        .shows(200, &["/console/import"]);
    helpdesk
        .open("/console/import")
        .await
        .shows(200, &["localpart", "Look what it would do"]);
    let here = "/console/import";
    let table = "localpart;display_name;organisation;kind\n\
                 rita;Rita <b>;;\n\
                 paul;Paul;Bridge Ltd;partner\n";
    let looked = [("table", table), ("as", "check"), ("reason", "")];
    let page = helpdesk.submit(here, &looked).await;
    page.shows(
        200,
        &["This is what would be done", "Rita &lt;b&gt;", "New"],
    )
    .hides(&["<b>"]);
    let none = [("table", table), ("as", "apply"), ("reason", " ")];
    helpdesk.submit(here, &none).await.shows(400, &["Say why"]);
    helpdesk
        .open("/console/people?q=rita")
        .await
        .hides(&["@rita:localhost"]);
    // A line that cannot be read is named, and nothing of the others is done.
    let bad = "localpart,email\nrita,nobody\nxenia,x@council.example\n";
    let bad = [
        ("table", bad),
        ("as", "apply"),
        ("reason", "new colleagues"),
    ];
    helpdesk.submit(here, &bad).await.shows(
        400,
        &[
            "Some lines cannot be read",
            "<th scope=\"row\">2</th>",
            "rita,nobody",
        ],
    );
    let long: String = (0..101).map(|number| format!("p{number}\n")).collect();
    let long = format!("localpart\n{long}");
    let many = [("table", long.as_str()), ("as", "apply"), ("reason", "x")];
    helpdesk
        .submit(here, &many)
        .await
        .shows(400, &["Up to 100"]);
    // Whoever has a role is out of the helpdesk's reach, and so is the whole table.
    let above = "localpart,display_name\nxenia,Xenia\nauditor,Another\n";
    let above = [("table", above), ("as", "apply"), ("reason", "x")];
    helpdesk
        .submit(here, &above)
        .await
        .shows(400, &["Nothing was done", "Refused"]);
    helpdesk
        .open("/console/people?q=xenia")
        .await
        .hides(&["@xenia:localhost"]);

    let done = [
        ("table", table),
        ("as", "apply"),
        ("reason", "new colleagues"),
    ];
    let page = helpdesk.submit(here, &done).await;
    page.shows(
        200,
        &[
            "This was done",
            "2 have no password yet",
            "value=\"rita,paul\"",
        ],
    );
    helpdesk
        .open("/console/people/paul")
        .await
        .shows(200, &["Partner", "Bridge Ltd"]);
    let invited = [
        ("users", "rita,paul"),
        ("reason", "new colleagues"),
        ("by", "mail"),
    ];
    helpdesk
        .submit("/console/import/invite", &invited)
        .await
        .shows(400, &["sends no e-mail"]);
    let invited = [
        ("users", "rita,paul"),
        ("reason", "new colleagues"),
        ("by", "paper"),
    ];
    let page = helpdesk.submit("/console/import/invite", &invited).await;
    assert_eq!(page.text.matches("<svg").count(), 2, "{page:?}");
    assert!(page.text.contains("(@rita:localhost)"), "{page:?}");
    let link = page.text.split("/join/").nth(1).unwrap();
    let link = format!("/join/{}", link.split(['<', '"']).next().unwrap());
    let chosen = [("name", ""), ("password", PASSWORD), ("again", PASSWORD)];
    server
        .visitor()
        .open(&link)
        .await
        .shows(200, &["@rita:localhost"]);
    assert_eq!(server.visitor().submit(&link, &chosen).await.status, 303);
    server
        .api()
        .try_login("rita", PASSWORD, json!({}))
        .await
        .ok();
    // The same table again: all is as it says, and everybody has an invitation.
    let page = helpdesk.submit(here, &done).await;
    page.shows(200, &["As it is"])
        .hides(&["have no password yet"]);
}

#[tokio::test]
async fn a_file_of_people_is_looked_at_then_imported_then_they_are_invited() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    let (here, kept) = ("/console/import/file", "/console/import/kept");
    helpdesk
        .open("/console/import")
        .await
        .shows(200, &["enctype=\"multipart/form-data\"", "type=\"file\""]);
    let rows: String = (0..601)
        .map(|number| format!("p{number},Person {number}\n"))
        .collect();
    let table = format!("\u{feff}localpart,display_name\n{rows}");
    let page = helpdesk.upload(here, &table).await;
    let page = page.shows(200, &["This is what would be done", "<dd>601</dd>"]);
    let name = Clerk::hidden(&page, "kept").unwrap();
    // Nothing was done, and nothing is without a reason.
    helpdesk
        .open("/console/people?q=person+600")
        .await
        .hides(&["@p600:localhost"]);
    let silent = [("kept", name.as_str()), ("as", "apply"), ("reason", "")];
    helpdesk
        .submit(kept, &silent)
        .await
        .shows(400, &["Say why"]);
    let unknown = [("kept", "x"), ("as", "apply"), ("reason", "new")];
    helpdesk
        .submit(kept, &unknown)
        .await
        .shows(400, &["The file is not here any more"]);
    // What one has uploaded nobody else goes on with.
    let mut boss = clerk(&server, "administrator").await;
    boss.open("/console/import").await;
    let theirs = [("kept", name.as_str()), ("as", "apply"), ("reason", "new")];
    boss.submit(kept, &theirs)
        .await
        .shows(400, &["The file is not here any more"]);
    let page = helpdesk.submit(kept, &theirs).await;
    page.shows(200, &["This was done", "601 have no password yet"]);
    helpdesk
        .open("/console/people?q=person+600")
        .await
        .shows(200, &["@p600:localhost"]);
    // The same file again changes nothing.
    helpdesk.open("/console/import").await;
    let again = helpdesk.upload(here, &table).await;
    again.shows(200, &["<dt>As it is</dt><dd>601</dd>"]);
    // A hundred at a time get their invitations on paper, nobody twice.
    let paper = [("kept", name.as_str()), ("as", "paper"), ("reason", "new")];
    let first = helpdesk.submit(kept, &paper).await;
    assert_eq!(first.text.matches("<svg").count(), 100, "{first:?}");
    let second = helpdesk.submit(kept, &paper).await;
    assert_eq!(second.text.matches("<svg").count(), 100);
    assert!(first.text.contains("(@p0:localhost)") && !second.text.contains("(@p0:localhost)"));
}

#[tokio::test]
async fn files_that_are_no_table_of_people_are_refused_whole() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    let here = "/console/import/file";
    helpdesk.open("/console/import").await;
    helpdesk
        .upload(here, "")
        .await
        .shows(400, &["Choose a file"]);
    helpdesk
        .upload(here, "name\nAnna\n")
        .await
        .shows(400, &["localpart"]);
    let bad = "localpart,email\nrita,nobody\nxenia,x@council.example\n";
    helpdesk
        .upload(here, bad)
        .await
        .shows(400, &["Some lines cannot be read", "is no e-mail address"])
        .hides(&["name=\"kept\""]);
    // Whoever has a role is out of the helpdesk's reach: the line is named, and nothing is kept.
    helpdesk
        .upload(here, "localpart,display_name\nauditor,Another\n")
        .await
        .shows(400, &["Refused"])
        .hides(&["name=\"kept\""]);
    let many: String = (0..10_001).map(|number| format!("p{number}\n")).collect();
    helpdesk
        .upload(here, &format!("localpart\n{many}"))
        .await
        .shows(400, &["one to 10,000 people"]);
    let large = format!("localpart\n{}", "x".repeat(17 * 1_024 * 1_024));
    helpdesk.upload(here, &large).await.shows(413, &[]);
    // A form of another session, and somebody who may not import.
    let own = std::mem::replace(&mut helpdesk.form, "x".repeat(43));
    let table = "localpart\nrita\n";
    helpdesk.upload(here, table).await.shows(403, &[]);
    helpdesk.form = own;
    helpdesk.upload(here, table).await.shows(200, &[]);
    let mut auditor = clerk(&server, "auditor").await;
    auditor.open("/console/").await;
    auditor.upload(here, table).await.shows(403, &[]);
}

#[tokio::test]
async fn departments_have_people_and_rooms() {
    let (server, anna) = house().await;
    let ben = server.api().register_as("ben").await;
    let room = anna.create_room(json!({ "name": "Roads" })).await;
    let mut moderator = clerk(&server, "moderator").await;
    moderator
        .open("/console/departments")
        .await
        .shows(200, &["There are no departments."]);
    let page = moderator
        .submit("/console/departments", &[("name", "Works / Parks")])
        .await;
    let here = "/console/departments/Works%20%2F%20Parks";
    assert_eq!((page.status, page.header("location")), (303, here));
    moderator
        .submit("/console/departments", &[("name", "works / parks")])
        .await
        .shows(400, &["This was not done"]);
    moderator
        .open(here)
        .await
        .shows(200, &["Nobody belongs to it.", "It has no rooms."]);
    let into = format!("{here}/get-room");
    moderator
        .submit(&into, &[("room", &room)])
        .await
        .shows(400, &["Say why"]);
    let fields = [("room", room.as_str()), ("reason", "agreed")];
    assert_eq!(moderator.submit(&into, &fields).await.status, 303);

    let mut helpdesk = clerk(&server, "helpdesk").await;
    helpdesk
        .open(here)
        .await
        .shows(200, &["Put somebody in"])
        .hides(&["Give it a room"]);
    let fields = [("user", "nobody"), ("reason", "new")];
    helpdesk
        .submit(&format!("{here}/put-in"), &fields)
        .await
        .shows(404, &["This was not done"]);
    let fields = [("user", "ben"), ("reason", "new")];
    let page = helpdesk.submit(&format!("{here}/put-in"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    helpdesk.open(here).await.shows(200, &["@ben:localhost"]);
    helpdesk
        .open("/console/people/ben")
        .await
        .shows(200, &["Works / Parks"]);
    let is_in = async |expected: bool| {
        eventually(&format!("ben in the room: {expected}"), 20, async || {
            let joined = ben.get("v3/joined_rooms").await.ok();
            let joined = joined["joined_rooms"].as_array().unwrap();
            (joined.contains(&json!(room)) == expected).then_some(())
        })
        .await;
    };
    is_in(true).await;
    let fields = [("room", room.as_str()), ("reason", "x")];
    helpdesk
        .submit(&format!("{here}/lose-room"), &fields)
        .await
        .shows(403, &["give them rooms"]);
    let fields = [("user", "@ben:localhost"), ("reason", "left")];
    helpdesk.open(here).await;
    let page = helpdesk.submit(&format!("{here}/take-out"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    is_in(false).await;

    moderator.open(here).await;
    let delete = format!("{here}/delete");
    let fields = [("typed", "Works"), ("reason", "merged")];
    moderator
        .submit(&delete, &fields)
        .await
        .shows(400, &["another one"]);
    let fields = [("typed", "Works / Parks"), ("reason", "merged")];
    let page = moderator.submit(&delete, &fields).await;
    assert_eq!(page.header("location"), "/console/departments");
    moderator
        .open(here)
        .await
        .shows(404, &["There is nothing here"]);
    assert_eq!(audit(&server, "department.deleted")[0]["reason"], "merged");
}

#[tokio::test]
async fn accounts_get_ends_kinds_and_limits() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    let here = "/console/people/@anna:localhost";
    helpdesk
        .open(here)
        .await
        .shows(200, &["Say when it ends"])
        .hides(&["Renew"]);
    let fields = [("end", "soon"), ("reason", "contract")];
    helpdesk
        .submit(&format!("{here}/set-end"), &fields)
        .await
        .shows(400, &["2026-12-31", "@anna:localhost"]);
    let fields = [
        ("end", "2099-03-31"),
        ("renewable", "1"),
        ("reason", "contract"),
    ];
    let page = helpdesk.submit(&format!("{here}/set-end"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    helpdesk
        .open(here)
        .await
        .shows(200, &["2099", "Renew", "value=\"1\" checked"]);
    // Nobody's account ends here by itself, so there is nothing to renew it to.
    helpdesk
        .submit(&format!("{here}/renew"), &[("reason", "x")])
        .await
        .shows(400, &["validity_days"]);
    let fields = [("end", ""), ("reason", "stays")];
    helpdesk.submit(&format!("{here}/set-end"), &fields).await;
    helpdesk.open(here).await.hides(&["2099"]);

    let fields = [
        ("kind", "partner"),
        ("organisation", "Bridge Ltd"),
        ("reason", "x"),
    ];
    let page = helpdesk.submit(&format!("{here}/kind"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    helpdesk
        .open(here)
        .await
        .shows(200, &["Partner: sees no directory", "Bridge Ltd"]);

    let limits = format!("{here}/limits");
    let fields = [("devices", "many"), ("reason", "x")];
    helpdesk
        .submit(&limits, &fields)
        .await
        .shows(400, &["Write a number"]);
    let fields = [("devices", "3"), ("megabytes", "20"), ("reason", "x")];
    assert_eq!(helpdesk.submit(&limits, &fields).await.status, 303);
    helpdesk
        .open(here)
        .await
        .shows(200, &["Devices: 3", "Megabytes of files: 20"])
        .hides(&["Requests at once: "]);
    // What is left empty is as for everybody again.
    let fields = [("devices", ""), ("megabytes", "20"), ("reason", "x")];
    helpdesk.submit(&limits, &fields).await;
    helpdesk
        .open(here)
        .await
        .shows(200, &["Megabytes of files: 20"])
        .hides(&["Devices: 3"]);
    // A role keeps all of it out of the helpdesk's reach.
    let above = "/console/people/@auditor:localhost";
    helpdesk
        .open(above)
        .await
        .hides(&["Say when it ends", "Own limits"]);
    for verb in ["set-end", "kind", "limits", "close"] {
        let fields = [("kind", "member"), ("typed", "auditor"), ("reason", "x")];
        helpdesk
            .submit(&format!("{above}/{verb}"), &fields)
            .await
            .shows(403, &["administrators can do this"]);
    }
}

#[tokio::test]
async fn a_closed_account_hands_its_rooms_over() {
    let (server, anna) = house().await;
    let ben = server.api().register_as("ben").await;
    let room = anna.create_room(json!({ "name": "Allotments" })).await;
    anna.invite(&room, &ben).await;
    ben.join(&room).await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    let here = "/console/people/@anna:localhost";
    helpdesk.open(here).await.shows(
        200,
        &[
            "Rooms that they alone run: 1.",
            "Allotments: to @ben:localhost",
        ],
    );
    let close = format!("{here}/close");
    let fields = [
        ("typed", "anna"),
        ("reason", "left us"),
        ("hand-over", "1"),
        ("to", "nobody"),
    ];
    helpdesk
        .submit(&close, &fields)
        .await
        .shows(404, &["This was not done"]);
    let fields = [("typed", "anna"), ("reason", "left us"), ("hand-over", "1")];
    let page = helpdesk.submit(&close, &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    let shown = server.cairn_json(&["user", "show", "anna"]);
    assert_eq!(shown["deactivated"], true);
    helpdesk
        .open(here)
        .await
        .shows(200, &["Closed"])
        .hides(&["What you can do"]);
    ben.set_state(&room, "m.room.topic", "", json!({ "topic": "Mine now" }))
        .await;
    let told = audit(&server, "room.handed_over");
    assert_eq!(told[0]["on"], "@ben:localhost");
}
