//! What is stored: ids, records, all tables of the database, the kinds of change.
//!
//! Place: the pure floor, above `store`. No I/O of its own, no clock, no rules:
//! those are `graph`'s (what an event may do) and the domain crates' (who may see
//! and do what).

mod account;
mod audit;
mod change;
mod console;
mod delayed;
mod destination;
mod email;
mod event;
mod ids;
mod intern;
mod listing;
mod media;
mod peer;
mod person;
mod preview;
mod push;
mod record;
mod relation;
mod remote_devices;
mod role;
mod room;
mod room_task;
mod search;
mod service;
mod standing;
pub mod tables;
mod thread;

pub use account::{
    AccessTokenRecord, AccountDataRecord, AccountDataUsageRecord, AccountRecord, BackedUpKeyRecord,
    CrossSigningKeyRecord, DehydratedDeviceRecord, DeviceKeysRecord, DeviceListRecord,
    DeviceRecord, DirectoryProgressRecord, FallbackKeyRecord, InvitationRecord, KeyBackupRecord,
    KeyBackupsRecord, KeyCountsRecord, LastSeenRecord, RefreshTokenRecord, SignatureRecord,
    ToDeviceQueueRecord, ToDeviceTransactionRecord, TokenHash,
};
pub use audit::{
    AuditHeadRecord, AuditRecord, BlockedRoomRecord, RegisterProgressRecord, RuleRecord, StayRecord,
};
pub use change::{Changes, EventChange, LogEntry, RoomChange, UserChange};
pub use change::{
    ban_lists_scope, device_scope, media_scope, neighbours_scope, occupancy_scope,
    publication_scope, pushers_scope, rewriting_scope, room_of_scope, room_scope, user_scope,
};
pub use console::{CodeGeneratorRecord, ConsoleSessionRecord, PasskeyRecord, ProgramTokenRecord};
pub use delayed::{DelayedCountsRecord, DelayedEventRecord, DelayedFailure, DelayedOutcome};
pub use destination::{
    EduQueueRecord, PublishedDevicesRecord, RoomServerRecord, ServerEdu, ServerTransaction,
    WaitingRoomRecord,
};
pub use email::{ConfirmationRecord, EmailPurpose, EmailRecord};
pub use event::{EventMeta, EventStatus, StateRoot, StoredEvent};
pub use ids::{DeviceSerial, EventSerial, PusherSerial, RoomSerial, UserSerial};
pub use intern::{intern_room, intern_user, room_id, user_id};
pub use listing::{
    ListedPersonRecord, ListedRoomRecord, ListingProgressRecord, NamePart, PeopleList, RoomsList,
    SortedName, name_part, name_parts, with_part,
};
pub use media::{
    ContentHash, ImageFormat, MediaRecord, MediaState, MediaUsageRecord, QuarantineChangeRecord,
    QuarantineRecord, RemoteMediaRecord, StoredContent, ThumbnailRecord,
};
pub use peer::{
    BlockedServerRecord, OldKeyRecord, PeerDocumentRecord, PeerKeyRecord, PeerListRecord,
    PeerRecord,
};
pub use person::{
    ClosingRecord, DepartmentRecord, DepartmentRoomRecord, OpenedRoomRecord, PersonKind,
    PersonLimits, PersonRecord, PlacementRecord, RenewalRecord,
};
pub use preview::PreviewRecord;
pub use push::{PushRecord, PushedEvent, PusherRecord};
pub use relation::{BundleRecord, Bundled, BundledRecord, RelationRecord};
pub use remote_devices::{
    RemoteDeviceListRecord, RemoteDeviceRecord, RemoteMessageRecord, StaleDeviceList,
};
pub use role::{Role, Roles};
pub use room::{
    AliasRecord, AnnotationRecord, Membership, MembershipRecord, OutsideRecord, PartialEventRecord,
    PartialRoomRecord, ReceiptRecord, RoomHead, RoomRecord, SentBy, SentTransaction,
    UnplacedDevicesRecord, UnreadCount, UnreadRecord,
};
pub use room_task::{
    BanListRecord, ClosedRoomRecord, PurgedRoomRecord, RemovalStage, RoomRedaction, RoomRemoval,
    RoomShrinking, RoomTaskRecord, RoomTaskState, RoomWork,
};
pub use search::{IndexedRecord, SearchProgressRecord, SearchedField};
pub use service::{ServiceNews, ServiceTransaction};
pub use standing::{OpenIdTokenRecord, ReportRecord, Reported, StandingRecord};
pub use thread::ThreadSubscriptionRecord;
