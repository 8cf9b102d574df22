//! Records of what limits an account, and of what people report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EventSerial, RoomSerial, UserSerial, record::stored};

/// What limits what an account may do. No row: nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRecord {
    /// Whether an administrator has suspended the account: its user reads and says nothing.
    pub is_suspended: bool,
    /// Whether it is a guest's.
    pub is_guest: bool,
    /// The versions of the policies that its user has accepted, by policy.
    pub accepted: BTreeMap<String, String>,
}

/// A token by which another service may learn who somebody is, known by its hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIdTokenRecord {
    /// Who.
    pub user: UserSerial,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: u64,
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reported {
    /// A room.
    Room(RoomSerial),
    /// An event of a room.
    Event(RoomSerial, EventSerial),
    /// A user.
    User(UserSerial),
}

/// Something that a user has reported to the administrators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// Who reports.
    pub reporter: UserSerial,
    /// What.
    pub target: Reported,
    /// Why, in the reporter's words.
    pub reason: String,
    /// How bad it is, from 0 down to -100, as clients before version 1.18 of the
    /// specification say.
    pub score: Option<i32>,
}

stored! { StandingRecord = 1, OpenIdTokenRecord = 1, ReportRecord = 1 }
