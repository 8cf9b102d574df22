//! Who may do what: every right and every verb with every role, on a temporary store.

mod verbs;

use std::sync::Arc;

use accounts::{
    Accounts, AccountsOptions, NewAccount, RegistrationMode, RegistrationOptions, Session,
};
use audit::{Act, Filter, Found};
use graph::SigningKey;
use media::{Media, MediaOptions, MediaParts};
use model::{PersonKind, Role, Roles};
use outgoing::{Outgoing, OutgoingOptions};
use peers::{FederationOptions, Peers, PeersParts};
use rooms::{Rooms, RoomsOptions, RoomsQuery};
use ruma_common::{owned_server_name, room_id, user_id};
use runtime::{Clock, Metrics, Random, Tasks, Timestamp};
use store::{Store, StoreOptions};
use tempfile::TempDir;

use crate::{
    Actions, Administration, AdministrationError, Administrator, AuditSelection, DeletedRoom,
    Denied, FileModerationError, FileSelection, FileWish, LimitChanges, ModerationError, NewNotice,
    NoticeError, PeopleWish, PersonChanges, Restraint, Right,
};

struct House {
    actions: Actions,
    accounts: Accounts,
    store: Store,
    _tasks: Tasks,
    _folder: TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_800_000_000_000));
        let (random, metrics, tasks) = (Random::seeded(3), Metrics::new(), Tasks::new());
        let name = owned_server_name!("a.test");
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let accounts = Accounts::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            RegistrationOptions {
                mode: RegistrationMode::Open,
                ..RegistrationOptions::default()
            },
            AccountsOptions {
                password_hash_memory: 64,
                ..AccountsOptions::default()
            },
        )
        .unwrap();
        let key = Arc::new(SigningKey::generate([7; 32], "a".to_owned()).unwrap());
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            key.clone(),
            RoomsOptions::default(),
        );
        let media = Media::open(MediaParts {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            server_name: name.clone(),
            folder: folder.path().join("media"),
            options: MediaOptions::default(),
            metrics: metrics.clone(),
            stop: tasks.stop(),
        })
        .unwrap();
        let outgoing = Outgoing::new(&OutgoingOptions::default(), &metrics).unwrap();
        let peers = Peers::new(PeersParts {
            store: store.clone(),
            outgoing,
            clock: clock.clone(),
            random: random.clone(),
            server_name: name,
            key,
            options: FederationOptions::default(),
        })
        .unwrap();
        let actions = Actions::new(
            accounts.clone(),
            rooms,
            media,
            peers,
            clock,
            random,
            &metrics,
        );
        Self {
            actions,
            accounts,
            store,
            _tasks: tasks,
            _folder: folder,
        }
    }

    /// A house with anna, somebody without a role who administers nothing, and one of each role.
    async fn with_each_role() -> (Self, Vec<(Option<Role>, Session)>) {
        let house = Self::new();
        house.person("anna", Roles::NONE).await;
        let mut people = vec![(None, house.person("plain", Roles::NONE).await)];
        for role in Role::ALL {
            let roles = Roles::NONE.with(role);
            people.push((Some(role), house.person(role.name(), roles).await));
        }
        (house, people)
    }

    async fn person(&self, name: &str, roles: Roles) -> Session {
        let new = NewAccount {
            username: Some(name.to_owned()),
            password: Some("correct horse".to_owned()),
            ..NewAccount::default()
        };
        let operator = Act::operator();
        let made = self.accounts.create_account(&operator, new, roles);
        let token = made.await.unwrap().session.unwrap().access_token;
        self.accounts.authenticate(&token).await.unwrap()
    }

    /// What somebody is told who does what a right is for. A new right that is not named here
    /// does not compile.
    async fn try_right(&self, by: &Administrator, who: &Session, right: Right) -> Option<Denied> {
        let user = || "anna".to_owned();
        let server = || "127.0.0.1:1".to_owned();
        let wish = match right {
            Right::ListPeople => Administration::ListUsers,
            Right::ShowPerson => Administration::ShowUser { user: user() },
            Right::CreatePerson => Administration::CreateUser {
                user: "new".to_owned(),
                password: None,
                administrator: false,
            },
            Right::ResetPassword => Administration::ResetPassword {
                user: user(),
                password: None,
            },
            Right::DeactivatePerson => Administration::DeactivateUser {
                user: "nobody".to_owned(),
                erase: false,
            },
            Right::RestrainPerson => Administration::RestrainUser {
                user: user(),
                restraint: Restraint::Lock,
                restrained: false,
                told: None,
            },
            Right::ChangeRoles => Administration::ChangeRole {
                user: user(),
                role: Some(Role::Auditor),
                has: false,
            },
            Right::ResetSecondFactor => Administration::ResetSecondFactor { user: user() },
            Right::MakeProgramTokens => Administration::MakeProgramToken {
                user: user(),
                name: "x".to_owned(),
                days: 1,
            },
            Right::CreateInvitations => Administration::CreateInvitations {
                uses: 1,
                expires_after_days: None,
                count: 1,
            },
            Right::ListInvitations => Administration::ListInvitations,
            Right::RevokeInvitation => Administration::RevokeInvitation {
                token: "none".to_owned(),
            },
            Right::ImportPeople => about(PeopleWish::CheckImport { rows: Vec::new() }),
            Right::ChangeEnd => about(PeopleWish::SetEnd {
                user: user(),
                expires_at: None,
                is_renewable: false,
            }),
            Right::ChangeKind => about(PeopleWish::SetKind {
                user: user(),
                kind: PersonKind::Member,
                organisation: None,
            }),
            Right::ChangeLimits => {
                let changes = LimitChanges::default();
                let done = self.actions.change_limits_of(by, "anna", changes).await;
                return denied(done.err());
            }
            Right::ListDepartments => about(PeopleWish::ListDepartments { after: None }),
            Right::ChangeDepartments => about(PeopleWish::CreateDepartment {
                name: "Works".to_owned(),
            }),
            Right::PlacePeople => about(PeopleWish::DepartmentMember {
                name: "Works".to_owned(),
                user: user(),
                belongs: true,
            }),
            Right::OpenRoom => about(PeopleWish::OpenRoom {
                room: "!r:a.test".to_owned(),
                is_open: true,
            }),
            Right::ListFiles => files(FileWish::List),
            Right::DeleteFiles => files(FileWish::Delete),
            Right::QuarantineFiles => files(FileWish::Quarantine),
            Right::ListReports => Administration::ListReports,
            Right::ReadRegister => Administration::RegisterOfPerson { user: user() },
            Right::ReadAudit => Administration::ShowAudit {
                selection: AuditSelection::default(),
            },
            Right::ShowDatabase => Administration::ShowDatabase,
            Right::CompactDatabase => Administration::CompactDatabase,
            Right::CopyDatabase => Administration::CopyDatabase,
            Right::ShowFederation => Administration::FederationStatus,
            Right::CheckFederation => Administration::FederationCheck { server: server() },
            Right::ChangeFederation => Administration::FederationForget { server: server() },
            Right::ImportPeerList => Administration::ImportPeerList {
                list: "none".to_owned(),
            },
            Right::ShowDevices => {
                let told = self.actions.whois(by, user_id!("@anna:a.test")).await;
                return told.err().and_then(|error| match error {
                    ModerationError::Denied(denied) => Some(denied),
                    _ => None,
                });
            }
            Right::ShowRestraint => {
                let anna = user_id!("@anna:a.test");
                let told = self.actions.is_restrained(by, anna, Restraint::Lock).await;
                return told.err().and_then(|error| match error {
                    ModerationError::Denied(denied) => Some(denied),
                    _ => None,
                });
            }
            Right::ChangeDevices => {
                let devices = vec!["NONE".into()];
                let done = self.actions.remove_devices_of(by, "anna", devices).await;
                return denied(done.err());
            }
            Right::ReadAccountData => {
                return denied(self.actions.account_data_of(by, "anna").await.err());
            }
            Right::ListRooms => {
                let all = RoomsQuery::default();
                return denied(self.actions.rooms_page(by, all).await.err());
            }
            Right::ReadState => {
                return denied(self.actions.state_of(by, "!r:a.test", None).await.err());
            }
            Right::ReadEvents => {
                return denied(self.actions.event_for(by, "$none").await.err());
            }
            Right::BlockRoom => {
                let room = room_id!("!r:a.test");
                return denied(self.actions.block_room(by, room, false).await.err());
            }
            Right::ChangeMembers => {
                let anna = user_id!("@anna:a.test");
                let done = self.actions.remove_member(by, "!r:a.test", anna).await;
                return denied(done.err());
            }
            Right::TakeOverRoom => {
                let anna = user_id!("@anna:a.test");
                let done = self.actions.take_over_room(by, "!r:a.test", anna).await;
                return denied(done.err());
            }
            Right::CloseRoom => {
                return denied(self.actions.close_room(by, "!r:a.test").await.err());
            }
            Right::DeleteRoom => {
                let deleted = DeletedRoom {
                    room: "!r:a.test".to_owned(),
                    ..DeletedRoom::default()
                };
                return denied(self.actions.delete_room(by, deleted).await.err());
            }
            Right::ShrinkHistory => {
                let before = rooms::Boundary::Time(1);
                let begun = self.actions.shrink_history(by, "!r:a.test", before, true);
                return denied(begun.await.err());
            }
            Right::RedactEvents => {
                let wanted = rooms::WantedRedaction {
                    user_id: user_id!("@nobody:a.test").to_owned(),
                    rooms: Vec::new(),
                    limit: 1,
                    by: None,
                    reason: None,
                    after: None,
                    before: None,
                };
                return denied(self.actions.redact_person(by, wanted).await.err());
            }
            Right::ShowRoomTasks => return denied(self.actions.room_tasks(by).await.err()),
            Right::MarkRoom | Right::LowerMarking => {
                let by = by.clone().because(Some("why not".to_owned()));
                let lowers = right == Right::LowerMarking;
                let marked = self.actions.mark_room(&by, "!r:a.test", "X", false, lowers);
                return denied(marked.await.err());
            }
            Right::ShowBanLists => return denied(self.actions.ban_lists(by).await.err()),
            Right::ChangeBanLists => {
                return denied(self.actions.ignore_ban_list(by, "!r:a.test").await.err());
            }
            Right::ShowUsage => {
                return denied(self.actions.media_usage(by).await.err());
            }
            Right::CloseReports => {
                return denied(self.actions.close_report(by, 7).await.err());
            }
            Right::ChangeProfile => {
                let changes = PersonChanges {
                    display_name: Some("Anna".to_owned()),
                    ..PersonChanges::default()
                };
                return self.try_changes(by, changes).await;
            }
            Right::ChangeEmails => {
                let changes = PersonChanges {
                    emails: Some(vec!["anna@a.test".to_owned()]),
                    ..PersonChanges::default()
                };
                return self.try_changes(by, changes).await;
            }
            Right::SendNotice => {
                let notice = NewNotice {
                    user_id: user_id!("@anna:a.test").to_owned(),
                    event_type: None,
                    state_key: None,
                    content: br#"{"msgtype":"m.text","body":"x"}"#.to_vec(),
                    transaction_id: None,
                };
                let sent = self.actions.send_notice(by, who, notice).await;
                return sent.err().and_then(|error| match error {
                    NoticeError::Denied(denied) => Some(denied),
                    _ => None,
                });
            }
        };
        denied(self.actions.administer(by, wish).await.err())
    }

    async fn try_changes(&self, by: &Administrator, changes: PersonChanges) -> Option<Denied> {
        let anna = user_id!("@anna:a.test");
        denied(self.actions.change_person(by, anna, changes).await.err())
    }
}

fn denied(error: Option<AdministrationError>) -> Option<Denied> {
    match error? {
        AdministrationError::Denied(denied)
        | AdministrationError::Files(FileModerationError::Denied(denied)) => Some(denied),
        _ => None,
    }
}

fn about(about: PeopleWish) -> Administration {
    Administration::People { about }
}

fn files(wish: FileWish) -> Administration {
    Administration::Files {
        wish,
        selection: FileSelection::User("anna".to_owned()),
    }
}

#[tokio::test]
async fn every_right_is_given_to_its_roles_and_to_nobody_else() {
    let (house, people) = House::with_each_role().await;
    for (role, session) in &people {
        let by = Administrator::session(session, Some("192.0.2.1".to_owned()));
        for right in Right::ALL {
            let expected = !role.is_some_and(|role| right.is_of(role));
            let denied = house.try_right(&by, session, *right).await;
            assert_eq!(
                denied.is_some(),
                expected,
                "{right:?} of {role:?}: {denied:?}"
            );
            if let Some(denied) = denied {
                // What is refused is that, and nothing that it would have needed first.
                let files = [Right::DeleteFiles, Right::QuarantineFiles];
                assert!(denied == Denied::Right(*right) || files.contains(right));
            }
        }
    }
    let operator = Administrator::operator();
    let (_, somebody) = &people[0];
    for right in Right::ALL {
        assert_eq!(
            house.try_right(&operator, somebody, *right).await,
            None,
            "{right:?}"
        );
    }
    // All of it together is one whole trail, in which whoever was refused has done nothing.
    let view = house.store.snapshot();
    assert_eq!(audit::verify(&view, None).unwrap().broken, None);
    let by = |name: &str| -> Found {
        let by = Some(format!("@{name}:a.test"));
        audit::find(
            &view,
            &Filter {
                by,
                ..Filter::default()
            },
            None,
            100,
        )
        .unwrap()
    };
    assert_eq!(by("plain"), Found::default());
    let auditor = by("auditor").entries;
    assert!(
        auditor.iter().all(|entry| entry.verb == "register.read"),
        "{auditor:#?}"
    );
    assert!(by("helpdesk").entries.len() >= 4);
}

#[tokio::test]
async fn who_has_a_role_is_out_of_reach_for_those_who_do_not_administer() {
    let house = House::new();
    let helpdesk = house
        .person("helpdesk", Roles::NONE.with(Role::Helpdesk))
        .await;
    house.person("boss", Roles::ADMINISTRATOR).await;
    house
        .person("auditor", Roles::NONE.with(Role::Auditor))
        .await;
    let by = Administrator::session(&helpdesk, None);
    for user in ["boss", "auditor"].map(str::to_owned) {
        for wish in [
            Administration::ResetPassword {
                user: user.clone(),
                password: None,
            },
            Administration::DeactivateUser {
                user: user.clone(),
                erase: false,
            },
            Administration::RestrainUser {
                user: user.clone(),
                restraint: Restraint::Suspension,
                restrained: true,
                told: None,
            },
        ] {
            let done = house.actions.administer(&by, wish).await;
            let is_refused = matches!(done, Err(AdministrationError::Denied(Denied::HasRole)));
            assert!(is_refused, "{user}: {done:?}");
        }
    }
    // Nor can a helpdesk make itself, or anybody, an administrator.
    let wish = Administration::CreateUser {
        user: "friend".to_owned(),
        password: None,
        administrator: true,
    };
    let done = house.actions.administer(&by, wish).await;
    let is_refused = matches!(
        done,
        Err(AdministrationError::Denied(Denied::Right(
            Right::ChangeRoles
        )))
    );
    assert!(is_refused, "{done:?}");
}
