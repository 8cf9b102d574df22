//! Every verb with every role. Which verbs there are is read from what parses them, so that a
//! new one that is not named here fails.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::RoomWish;

/// The verbs, with the right that each needs.
fn verbs() -> Vec<(Value, Right)> {
    let mut verbs = accounts_and_server();
    let people = wishes_about_people().into_iter();
    verbs.extend(people.map(|(about, right)| (json!({ "verb": "people", "about": about }), right)));
    let rooms = wishes_about_rooms().into_iter();
    verbs.extend(rooms.map(|(wish, right)| (json!({ "verb": "rooms", "wish": wish }), right)));
    for (wish, right) in [
        ("list", Right::ListFiles),
        ("delete", Right::DeleteFiles),
        ("quarantine", Right::QuarantineFiles),
        ("unquarantine", Right::QuarantineFiles),
    ] {
        let selection = json!({ "user": "anna" });
        let verb = json!({ "verb": "files", "wish": wish, "selection": selection });
        verbs.push((verb, right));
    }
    verbs
}

fn accounts_and_server() -> Vec<(Value, Right)> {
    let of = |verb: &str| json!({ "verb": verb, "user": "anna" });
    let on = |verb: &str| json!({ "verb": verb, "server": "127.0.0.1:1" });
    let alone = |verb: &str| json!({ "verb": verb });
    let with = |mut verb: Value, more: Value| {
        for (name, value) in more.as_object().unwrap() {
            verb[name] = value.clone();
        }
        verb
    };
    vec![
        (
            json!({ "verb": "create_user", "user": "new", "administrator": false }),
            Right::CreatePerson,
        ),
        (alone("list_users"), Right::ListPeople),
        (of("show_user"), Right::ShowPerson),
        (of("reset_password"), Right::ResetPassword),
        (
            json!({ "verb": "deactivate_user", "user": "nobody", "erase": false }),
            Right::DeactivatePerson,
        ),
        (
            with(
                of("change_role"),
                json!({ "role": "auditor", "has": false }),
            ),
            Right::ChangeRoles,
        ),
        (of("reset_second_factor"), Right::ResetSecondFactor),
        (
            with(of("make_program_token"), json!({ "name": "x", "days": 1 })),
            Right::MakeProgramTokens,
        ),
        (
            with(
                of("restrain_user"),
                json!({ "restraint": "lock", "restrained": false }),
            ),
            Right::RestrainPerson,
        ),
        (alone("list_reports"), Right::ListReports),
        (
            json!({ "verb": "create_invitations", "uses": 1, "count": 1 }),
            Right::CreateInvitations,
        ),
        (alone("list_invitations"), Right::ListInvitations),
        (
            json!({ "verb": "revoke_invitation", "token": "none" }),
            Right::RevokeInvitation,
        ),
        (alone("show_database"), Right::ShowDatabase),
        (alone("compact_database"), Right::CompactDatabase),
        (alone("copy_database"), Right::CopyDatabase),
        (alone("federation_status"), Right::ShowFederation),
        (on("federation_check"), Right::CheckFederation),
        (on("federation_retry"), Right::ChangeFederation),
        (on("federation_block"), Right::ChangeFederation),
        (on("federation_unblock"), Right::ChangeFederation),
        (on("federation_forget"), Right::ChangeFederation),
        (
            json!({ "verb": "import_peer_list", "list": "none" }),
            Right::ImportPeerList,
        ),
        (alone("export_peer_list"), Right::ShowFederation),
        (
            json!({ "verb": "show_audit", "selection": {} }),
            Right::ReadAudit,
        ),
        (alone("verify_audit"), Right::ReadAudit),
        (
            json!({ "verb": "export_audit", "after": 0 }),
            Right::ReadAudit,
        ),
        (alone("sign_audit"), Right::ReadAudit),
        (
            json!({ "verb": "register_of_room", "room": "!r:a.test" }),
            Right::ReadRegister,
        ),
        (of("register_of_person"), Right::ReadRegister),
    ]
}

fn wishes_about_people() -> Vec<(Value, Right)> {
    let department = |wish: &str| json!({ "wish": wish, "name": "Works" });
    let of = |wish: &str, more: Value| {
        let mut all = json!({ "wish": wish, "user": "anna" });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let room = "!r:a.test";
    vec![
        (
            json!({ "wish": "check_import", "rows": [] }),
            Right::ImportPeople,
        ),
        (
            json!({ "wish": "import", "rows": [], "skips_bad": false }),
            Right::ImportPeople,
        ),
        (
            json!({ "wish": "invite", "users": [], "by_mail": false }),
            Right::CreateInvitations,
        ),
        (
            json!({ "wish": "invitations_given", "users": [] }),
            Right::CreateInvitations,
        ),
        (
            of("set_end", json!({ "is_renewable": false })),
            Right::ChangeEnd,
        ),
        (of("renew", json!({})), Right::ChangeEnd),
        (
            of("set_kind", json!({ "kind": "Member" })),
            Right::ChangeKind,
        ),
        (
            json!({ "wish": "open_room", "room": room, "is_open": true }),
            Right::OpenRoom,
        ),
        (json!({ "wish": "list_open_rooms" }), Right::ListRooms),
        (
            of("change_limits", json!({ "changes": {} })),
            Right::ChangeLimits,
        ),
        (of("show_person", json!({})), Right::ShowPerson),
        (of("plan_closing", json!({})), Right::DeactivatePerson),
        (
            json!({ "wish": "close", "user": "nobody", "erase": false, "hands_over": false }),
            Right::DeactivatePerson,
        ),
        (department("create_department"), Right::ChangeDepartments),
        (department("delete_department"), Right::ChangeDepartments),
        (
            json!({ "wish": "list_departments" }),
            Right::ListDepartments,
        ),
        (department("show_department"), Right::ListDepartments),
        (
            json!({ "wish": "department_room", "name": "Works", "room": room, "belongs": true }),
            Right::ChangeDepartments,
        ),
        (
            of(
                "department_member",
                json!({ "name": "Works", "belongs": true }),
            ),
            Right::PlacePeople,
        ),
    ]
}

fn wishes_about_rooms() -> Vec<(Value, Right)> {
    let of = |what: &str, more: Value| {
        let mut all = json!({ "what": what, "room": "!r:a.test" });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let alone = |what: &str| json!({ "what": what });
    let anna = json!({ "user": "anna" });
    vec![
        (
            json!({ "what": "list", "from": 0, "limit": 1 }),
            Right::ListRooms,
        ),
        (of("show", json!({})), Right::ListRooms),
        (alone("abandoned"), Right::ListRooms),
        (
            of("close", json!({ "closed": true, "empty": false })),
            Right::CloseRoom,
        ),
        (of("block", json!({ "blocked": false })), Right::BlockRoom),
        (
            of("delete", json!({ "block": false, "with_files": false })),
            Right::DeleteRoom,
        ),
        (
            of("shrink", json!({ "time": 1, "with_local": false })),
            Right::ShrinkHistory,
        ),
        (
            json!({ "what": "redact", "user": "anna" }),
            Right::RedactEvents,
        ),
        (alone("tasks"), Right::ShowRoomTasks),
        (
            json!({ "what": "task", "id": "none" }),
            Right::ShowRoomTasks,
        ),
        (of("hand_over", anna.clone()), Right::TakeOverRoom),
        (of("add_member", anna.clone()), Right::ChangeMembers),
        (of("remove_member", anna), Right::ChangeMembers),
        (
            of(
                "mark",
                json!({ "marking": "X", "put_out": false, "lower": false }),
            ),
            Right::MarkRoom,
        ),
        (alone("markings"), Right::ListRooms),
        (of("heed", json!({ "via": [] })), Right::ChangeBanLists),
        (of("ignore", json!({})), Right::ChangeBanLists),
        (alone("ban_lists"), Right::ShowBanLists),
    ]
}

/// The names that a field may have, as what reads it lists them when it is another.
fn names<T: DeserializeOwned + std::fmt::Debug>(other: Value) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(other).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected one of ").expect(&error);
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_verb_is_forgotten() {
    let verbs = verbs();
    let named = |path: &[&str]| -> BTreeSet<String> {
        let at = |verb: &Value| {
            let found = path.iter().try_fold(verb, |value, name| value.get(*name));
            found.and_then(Value::as_str).map(str::to_owned)
        };
        verbs.iter().filter_map(|(verb, _)| at(verb)).collect()
    };
    let none = json!("none");
    assert_eq!(
        named(&["verb"]),
        names::<Administration>(json!({ "verb": none }))
    );
    assert_eq!(
        named(&["about", "wish"]),
        names::<PeopleWish>(json!({ "wish": none }))
    );
    assert_eq!(
        named(&["wish", "what"]),
        names::<RoomWish>(json!({ "what": none }))
    );
    assert_eq!(named(&["wish"]), names::<FileWish>(none));
}

#[tokio::test]
async fn every_verb_is_for_the_roles_of_its_right_and_for_nobody_else() {
    let (house, people) = House::with_each_role().await;
    for (verb, right) in verbs() {
        for (role, session) in &people {
            let by = Administrator::session(session, Some("192.0.2.1".to_owned()));
            let by = by.because(Some("a try".to_owned()));
            let wish: Administration = serde_json::from_value(verb.clone())
                .unwrap_or_else(|error| panic!("{verb}: {error}"));
            let denied = denied(house.actions.administer(&by, wish).await.err());
            let expected = !role.is_some_and(|role| right.is_of(role));
            assert_eq!(denied.is_some(), expected, "{verb} of {role:?}: {denied:?}");
        }
    }
}
