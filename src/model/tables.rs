//! Every table of the database. Numbers are never reused: 0 to 9 are the store's
//! own, 10 to 49 ids and events, 50 to 79, 129, 140 to 149, 159 to 169 and 182 rooms, 74 and 80 to 125
//! accounts, 130 and 131 application services, 75, 126, 132 to 134 and 150 to 158 media, 170 to 173
//! push, 174 to 181, 183 to 199 and 235 other servers, 200 to 234 and 236 to 249 administration.

use store::{Family, Position, tables};

use crate::{
    AccessTokenRecord, AccountDataRecord, AccountDataUsageRecord, AccountRecord, BackedUpKeyRecord,
    CrossSigningKeyRecord, DehydratedDeviceRecord, DeviceKeysRecord, DeviceListRecord,
    DeviceRecord, DirectoryProgressRecord, FallbackKeyRecord, InvitationRecord, KeyBackupRecord,
    KeyBackupsRecord, KeyCountsRecord, LastSeenRecord, RefreshTokenRecord, SignatureRecord,
    ToDeviceQueueRecord, ToDeviceTransactionRecord, TokenHash,
};
use crate::{
    AliasRecord, AnnotationRecord, DeviceSerial, EventMeta, EventSerial, Membership,
    MembershipRecord, OutsideRecord, ReceiptRecord, RoomChange, RoomHead, RoomRecord, RoomSerial,
    SentBy, SentTransaction, StoredEvent, UnreadRecord, UserChange, UserSerial,
};
use crate::{
    AuditHeadRecord, AuditRecord, BlockedRoomRecord, RegisterProgressRecord, RuleRecord, StayRecord,
};
use crate::{BanListRecord, ClosedRoomRecord, PurgedRoomRecord, RoomTaskRecord};
use crate::{
    BlockedServerRecord, OldKeyRecord, PeerDocumentRecord, PeerKeyRecord, PeerListRecord,
    PeerRecord,
};
use crate::{BundleRecord, Bundled, BundledRecord, RelationRecord};
use crate::{
    ClosingRecord, DepartmentRecord, DepartmentRoomRecord, OpenedRoomRecord, PersonRecord,
    PlacementRecord, RenewalRecord,
};
use crate::{CodeGeneratorRecord, ConsoleSessionRecord, PasskeyRecord, ProgramTokenRecord};
use crate::{ConfirmationRecord, EmailRecord};
use crate::{ContentHash, MediaRecord, MediaUsageRecord, RemoteMediaRecord, ThumbnailRecord};
use crate::{DelayedCountsRecord, DelayedEventRecord, ThreadSubscriptionRecord};
use crate::{
    EduQueueRecord, PublishedDevicesRecord, RoomServerRecord, ServerEdu, ServerTransaction,
    WaitingRoomRecord,
};
use crate::{IndexedRecord, SearchProgressRecord};
use crate::{
    ListedPersonRecord, ListedRoomRecord, ListingProgressRecord, NamePart, PeopleList, RoomsList,
    SortedName,
};
use crate::{OpenIdTokenRecord, ReportRecord, StandingRecord};
use crate::{PartialEventRecord, PartialRoomRecord, UnplacedDevicesRecord};
use crate::{PreviewRecord, QuarantineChangeRecord, QuarantineRecord};
use crate::{PushRecord, PusherRecord, PusherSerial};
use crate::{RemoteDeviceListRecord, RemoteDeviceRecord, RemoteMessageRecord};
use crate::{ServiceNews, ServiceTransaction};

/// How deep an event stands in its room's graph.
pub type Depth = u64;
/// Orders events of equal depth.
pub type TieBreak = u64;
/// The beginning of a word, as the user directory finds it.
pub type DirectoryWord = [u8; 24];
/// Tells apart the change rows of one commit.
pub type ChangeNumber = u32;

tables! {
    // Ids and events.

    /// Every user this server has heard of, by full user id.
    USER_BY_ID: String => UserSerial, 10, Family::Index;
    /// The full user id behind a serial.
    USER_ID_BY_SERIAL: UserSerial => String, 11, Family::Index;
    /// Every room this server knows, by room id.
    ROOM_BY_ID: String => RoomSerial, 12, Family::Index;
    /// What never changes about a room.
    ROOM_BY_SERIAL: RoomSerial => RoomRecord, 13, Family::Index;
    /// Every event this server holds, by event id.
    EVENT_BY_ID: String => EventSerial, 14, Family::Index;
    /// Every event this server holds, as it was signed; never changed.
    EVENT_BY_SERIAL: EventSerial => StoredEvent, 15, Family::Events;
    /// What became of an event, where it stands, and the state before it.
    EVENT_META_BY_SERIAL: EventSerial => EventMeta, 16, Family::Index;

    // Rooms.

    /// A room's timeline in the order of its graph, wherever the events came from.
    EVENT_BY_PLACE: (RoomSerial, Depth, TieBreak) => EventSerial, 50, Family::Scan;
    /// What happened in a room, in the order of the log.
    CHANGE_BY_ROOM: (RoomSerial, Position, ChangeNumber) => RoomChange, 51, Family::Changes;
    /// What happened to a user, in the order of the log.
    CHANGE_BY_USER: (UserSerial, Position, ChangeNumber) => UserChange, 52, Family::Changes;
    /// Whose devices changed, for each room that the user was joined to at the time;
    /// only the newest change of each user is kept.
    DEVICE_CHANGE_BY_ROOM: (RoomSerial, Position, UserSerial) => (), 53, Family::Changes;
    /// The end of a room's graph.
    HEAD_BY_ROOM: RoomSerial => RoomHead, 54, Family::Index;
    /// A node of the rooms' state maps, by room and content hash.
    STATE_NODE_BY_HASH: (RoomSerial, [u8; 16]) => Vec<u8>, 55, Family::State;
    /// A room's current state, kept flat: by event type and state key.
    STATE_BY_ROOM: (RoomSerial, String, String) => EventSerial, 56, Family::Scan;
    /// The rooms that a user has anything to do with.
    MEMBERSHIP_BY_USER: (UserSerial, RoomSerial) => MembershipRecord, 57, Family::Scan;
    /// The members of a room, past and present.
    MEMBER_BY_ROOM: (RoomSerial, UserSerial) => Membership, 58, Family::Scan;
    /// The room aliases of this server, by full alias.
    ALIAS_BY_NAME: String => AliasRecord, 59, Family::Index;
    /// The aliases of a room.
    ALIAS_BY_ROOM: (RoomSerial, String) => (), 60, Family::Scan;
    /// What a device's transaction ids stand for, for a day: by device, endpoint and
    /// room, and the transaction id itself.
    EVENT_BY_TRANSACTION: (DeviceSerial, String, String) => SentTransaction, 61, Family::Scan;
    /// The device and transaction id that made an event, told to that device alone for
    /// a day.
    TRANSACTION_BY_EVENT: EventSerial => SentBy, 62, Family::Index;
    /// The redaction that was applied to an event.
    REDACTION_BY_EVENT: EventSerial => EventSerial, 63, Family::Index;
    /// How far each user has read: by room, user, receipt type and thread id (empty
    /// for an unthreaded receipt).
    RECEIPT_BY_ROOM: (RoomSerial, UserSerial, String, String) => ReceiptRecord, 64, Family::Scan;
    /// The one annotation of a kind that a user can make of an event: by event, user,
    /// and the annotation's event type and key in one text.
    ANNOTATION_BY_EVENT: (EventSerial, UserSerial, String) => EventSerial, 66, Family::Scan;
    /// Where an annotation stands in `ANNOTATION_BY_EVENT`, for when it is redacted.
    ANNOTATED_BY_ANNOTATION: EventSerial => AnnotationRecord, 67, Family::Index;
    /// The state events whose content was redacted, in the order of the log, each with its
    /// redaction.
    REDACTED_STATE_BY_ROOM: (RoomSerial, Position, EventSerial) => EventSerial, 73, Family::Changes;
    /// What a user has not read of a room, as counted up to a commit: so that not
    /// everything need be counted again after a restart.
    UNREAD_BY_USER: (UserSerial, RoomSerial) => UnreadRecord, 72, Family::Index;
    /// The rooms in the public directory.
    PUBLISHED_ROOM: RoomSerial => (), 65, Family::Scan;
    /// What relates to an event, in the order of the timeline: by the event's id, which
    /// may be unknown here.
    RELATION_BY_TARGET: (RoomSerial, String, Depth, TieBreak) => RelationRecord, 68, Family::Scan;
    /// Those relations that are bundled with the event, by its id and their kind.
    BUNDLED_BY_TARGET: (RoomSerial, String, Bundled, (Depth, TieBreak)) => BundledRecord, 69, Family::Scan;
    /// How many relations are bundled with an event, by its id.
    BUNDLE_BY_TARGET: (RoomSerial, String) => BundleRecord, 70, Family::Index;
    /// How often each user has spoken in a thread, by the id of its root.
    REPLIES_BY_SENDER: (RoomSerial, String, UserSerial) => u64, 71, Family::Scan;
    /// The threads of a room, each where its newest reply stands, by the id of its root.
    THREAD_BY_PLACE: (RoomSerial, Depth, TieBreak) => String, 140, Family::Scan;
    /// The newest commit that brought a room a relation that is bundled: no event that
    /// came later has one.
    NEWEST_BUNDLED_BY_ROOM: RoomSerial => Position, 141, Family::Index;
    /// The newest commit in which an event came beside others, or forks of a room's graph met:
    /// its state may be another than the last events alone say. Most rooms have none.
    NEWEST_FORK_BY_ROOM: RoomSerial => Position, 129, Family::Index;
    /// The rooms in the lists of other networks, by the network's instance id.
    PUBLISHED_ROOM_BY_NETWORK: (String, RoomSerial) => (), 142, Family::Scan;
    /// What a user is told of a room in which nobody of this server is, by an invitation or
    /// in answer to a knock.
    OUTSIDE_BY_USER: (UserSerial, RoomSerial) => OutsideRecord, 143, Family::Index;

    /// The room in which the server speaks to a user.
    NOTICE_ROOM_BY_USER: UserSerial => RoomSerial, 182, Family::Index;
    /// The search index: pages of words and the events that have them, by room, segment
    /// (0: the list of the segments), and the last word and event on the page.
    WORD_PAGE_BY_ROOM: (RoomSerial, u64, String, (u64, u64)) => Vec<u8>, 76, Family::Scan;
    /// The search index of earlier versions, a row for each word and event. Only deleted.
    WORD_BY_ROOM: (RoomSerial, String, u64, EventSerial) => Vec<u8>, 77, Family::Scan;
    /// Where events stand in the search index that say of themselves that they were sent
    /// later than they came.
    INDEXED_BY_EVENT: EventSerial => IndexedRecord, 78, Family::Index;
    /// How far the search index has come with the events that were there before it.
    SEARCH_PROGRESS: () => SearchProgressRecord, 79, Family::Index;
    /// The events that users have scheduled, and what became of them: by delay id.
    DELAYED_EVENT_BY_ID: String => DelayedEventRecord, 146, Family::Index;
    /// The same by time: 0 and when they are due, or 1 and when they ended.
    DELAYED_EVENT_BY_TIME: (u8, u64, String) => (), 147, Family::Queue;
    /// The same of each user.
    DELAYED_EVENT_BY_USER: (UserSerial, u8, u64, String) => (), 148, Family::Queue;
    /// The delay id that a device's transaction id stands for.
    DELAYED_EVENT_BY_TRANSACTION: (DeviceSerial, String, String) => String, 149, Family::Queue;
    /// How many delayed events a user has.
    DELAYED_COUNTS_BY_USER: UserSerial => DelayedCountsRecord, 159, Family::Index;
    /// The delay id by which an event was scheduled.
    DELAY_ID_BY_EVENT: EventSerial => String, 160, Family::Index;
    /// The sticky events of a room in the order of the log, each with when it ends to be
    /// sticky, in ms since the Unix epoch.
    STICKY_BY_ROOM: (RoomSerial, Position, EventSerial) => u64, 161, Family::Changes;
    /// The same of all rooms, by when they end to be sticky.
    STICKY_BY_END: (u64, RoomSerial, Position, EventSerial) => (), 162, Family::Changes;
    /// The threads that a user has subscribed to or left, by the id of their root.
    THREAD_SUBSCRIPTION_BY_USER: (UserSerial, RoomSerial, String) => ThreadSubscriptionRecord, 163, Family::Scan;
    /// The same in the order in which they were changed last.
    THREAD_SUBSCRIPTION_BY_POSITION: (UserSerial, Position, RoomSerial, String) => (), 164, Family::Changes;
    /// The rooms whose state is known in part only.
    PARTIAL_ROOM: RoomSerial => PartialRoomRecord, 165, Family::Index;
    /// The events that were placed in such a room meanwhile.
    PARTIAL_EVENT_BY_ROOM: (RoomSerial, EventSerial) => PartialEventRecord, 166, Family::Scan;
    /// The commit by which a room's state was known wholly again, of the last time.
    COMPLETED_BY_ROOM: RoomSerial => Position, 167, Family::Index;

    // Accounts.

    /// The local users, past and present.
    ACCOUNT_BY_USER: UserSerial => AccountRecord, 80, Family::Index;
    /// The users' passwords as argon2id hashes in PHC form. No row: no password works.
    PASSWORD_BY_USER: UserSerial => String, 81, Family::Index;
    /// The invitations, by the hash of their token.
    INVITATION_BY_HASH: TokenHash => InvitationRecord, 82, Family::Index;
    /// The devices of each local user, by device id.
    DEVICE_BY_USER: (UserSerial, String) => DeviceRecord, 83, Family::Scan;
    /// When each device was used last.
    LAST_SEEN_BY_DEVICE: DeviceSerial => LastSeenRecord, 84, Family::Index;
    /// The access tokens, by their hash.
    ACCESS_TOKEN_BY_HASH: TokenHash => AccessTokenRecord, 85, Family::Index;
    /// The refresh tokens, by their hash.
    REFRESH_TOKEN_BY_HASH: TokenHash => RefreshTokenRecord, 86, Family::Index;
    /// The tokens of each device: 0 for access tokens, 1 for refresh tokens.
    TOKEN_BY_DEVICE: (DeviceSerial, u8, TokenHash) => (), 87, Family::Scan;

    /// What limits an account: suspended, a guest's.
    STANDING_BY_USER: UserSerial => StandingRecord, 88, Family::Index;
    /// What people have reported to the administrators, by the commit that brought it.
    REPORT_BY_POSITION: Position => ReportRecord, 89, Family::Scan;

    /// A user's profile: JSON by field name.
    PROFILE_FIELD_BY_USER: (UserSerial, String) => Vec<u8>, 90, Family::Scan;
    /// A user's account data, by room (serial 0: the account's own) and event type.
    ACCOUNT_DATA_BY_USER: (UserSerial, RoomSerial, String) => AccountDataRecord, 91, Family::Scan;
    /// How much account data a user has stored.
    ACCOUNT_DATA_USAGE_BY_USER: UserSerial => AccountDataUsageRecord, 92, Family::Index;
    /// A user's filters as JSON, by number.
    FILTER_BY_USER: (UserSerial, u64) => Vec<u8>, 93, Family::Scan;
    /// The number of a user's filter, by the hash of its JSON.
    FILTER_BY_HASH: (UserSerial, [u8; 32]) => u64, 94, Family::Index;

    /// The newest change of a local user's devices or keys.
    DEVICE_CHANGE_BY_USER: UserSerial => DeviceListRecord, 100, Family::Index;
    /// A device's identity keys.
    DEVICE_KEYS_BY_DEVICE: DeviceSerial => DeviceKeysRecord, 101, Family::Index;
    /// A device's one-time keys as JSON, in the order in which they are given out: by
    /// algorithm, the commit that brought them, and key id.
    ONE_TIME_KEY_BY_DEVICE: (DeviceSerial, String, Position, String) => Vec<u8>, 102, Family::Queue;
    /// The commit that brought a one-time key, by algorithm and key id.
    ONE_TIME_KEY_BY_ID: (DeviceSerial, String, String) => Position, 103, Family::Queue;
    /// A device's fallback keys, by algorithm.
    FALLBACK_KEY_BY_DEVICE: (DeviceSerial, String) => FallbackKeyRecord, 104, Family::Index;
    /// How many keys of a device can still be claimed.
    KEY_COUNTS_BY_DEVICE: DeviceSerial => KeyCountsRecord, 105, Family::Index;
    /// A user's cross-signing keys: 0 master, 1 self-signing, 2 user-signing.
    CROSS_SIGNING_KEY_BY_USER: (UserSerial, u8) => CrossSigningKeyRecord, 106, Family::Index;
    /// Signatures on a user's keys: by whose key, the key's id (a device id or a public
    /// key), who signed, and the id of the signing key.
    SIGNATURE_BY_KEY: (UserSerial, String, UserSerial, String) => SignatureRecord, 107, Family::Scan;
    /// Whose keys a user has signed lately; only the newest row of each is kept.
    SIGNED_USER_BY_USER: (UserSerial, Position, UserSerial) => (), 108, Family::Changes;

    /// The messages that wait for a device, as JSON.
    TO_DEVICE_BY_DEVICE: (DeviceSerial, Position, u32) => Vec<u8>, 110, Family::Queue;
    /// How much waits for a device.
    TO_DEVICE_QUEUE_BY_DEVICE: DeviceSerial => ToDeviceQueueRecord, 111, Family::Index;
    /// The commit in which a device's transaction id was used, by the hash of event type
    /// and transaction id.
    TO_DEVICE_TRANSACTION_BY_HASH: (DeviceSerial, [u8; 32]) => Position, 112, Family::Queue;
    /// The transaction ids that a device has used, oldest first.
    TO_DEVICE_TRANSACTION_BY_POSITION: (DeviceSerial, Position) => ToDeviceTransactionRecord, 113, Family::Queue;

    /// What is known about the devices of other servers' users with whom rooms are shared.
    REMOTE_DEVICE_LIST_BY_USER: UserSerial => RemoteDeviceListRecord, 95, Family::Index;
    /// The devices of those users, by device id.
    REMOTE_DEVICE_BY_USER: (UserSerial, String) => RemoteDeviceRecord, 96, Family::Scan;
    /// Those of `REMOTE_DEVICE_LIST_BY_USER` that are to be fetched, by when, in ms since the
    /// Unix epoch.
    STALE_DEVICE_LIST_BY_TIME: (u64, UserSerial) => (), 97, Family::Queue;
    /// The commit that took a message of another server for devices, by the hash of the server
    /// and the message's id.
    REMOTE_MESSAGE_BY_HASH: [u8; 32] => Position, 109, Family::Queue;
    /// The same, oldest first.
    REMOTE_MESSAGE_BY_POSITION: Position => RemoteMessageRecord, 114, Family::Queue;

    /// A user's key backups, by version.
    KEY_BACKUP_BY_USER: (UserSerial, u64) => KeyBackupRecord, 115, Family::Scan;
    /// The newest version of a user's key backups, and how much is in all of them.
    KEY_BACKUPS_BY_USER: UserSerial => KeyBackupsRecord, 116, Family::Index;
    /// The keys in a user's backup of a version, by room id and session id.
    BACKED_UP_KEY_BY_VERSION: (UserSerial, u64, String, String) => BackedUpKeyRecord, 117, Family::Scan;
    /// How far the accounts of before the user directory have been put into it.
    DIRECTORY_PROGRESS: () => DirectoryProgressRecord, 74, Family::Index;
    /// A user's dehydrated device, which is also one of the user's devices.
    DEHYDRATED_DEVICE_BY_USER: UserSerial => DehydratedDeviceRecord, 118, Family::Index;
    /// The local users by the words of their name and id: the first bytes of each word
    /// in lower case, filled up with zeros, so that rows sort as the words do.
    USER_BY_WORD: (DirectoryWord, UserSerial) => (), 119, Family::Scan;

    /// The tokens by which other services learn who somebody is, by their hash.
    OPENID_TOKEN_BY_HASH: TokenHash => OpenIdTokenRecord, 120, Family::Index;
    /// The same by when they end, in ms since the Unix epoch.
    OPENID_TOKEN_BY_END: (u64, TokenHash) => (), 121, Family::Queue;

    /// The e-mail addresses of a user, in lower case.
    EMAIL_BY_USER: (UserSerial, String) => EmailRecord, 122, Family::Scan;
    /// Whose an e-mail address is.
    USER_BY_EMAIL: String => UserSerial, 123, Family::Index;
    /// The confirmations of e-mail addresses that are under way, by their id.
    CONFIRMATION_BY_ID: TokenHash => ConfirmationRecord, 124, Family::Index;
    /// The same by when they end, in ms since the Unix epoch.
    CONFIRMATION_BY_END: (u64, TokenHash) => (), 125, Family::Queue;

    // Application services.

    /// What waits to be sent to an application service, in the order of the log: by the
    /// service's id.
    NEWS_BY_SERVICE: (String, Position, u32) => ServiceNews, 130, Family::Queue;
    /// The transaction that is being sent to an application service, by the service's id.
    TRANSACTION_BY_SERVICE: String => ServiceTransaction, 131, Family::Queue;

    // Media.

    /// The files of this server, there or promised, by media id.
    MEDIA_BY_ID: String => MediaRecord, 150, Family::Index;
    /// The files of a user, oldest first: by when their media ids were made.
    MEDIA_BY_USER: (UserSerial, u64, String) => (), 151, Family::Scan;
    /// The media ids that share the same bytes. No row: nobody needs the bytes.
    MEDIA_BY_CONTENT: (ContentHash, String) => (), 152, Family::Scan;
    /// The files that were uploaded for a room, as their clients said.
    MEDIA_BY_ROOM: (RoomSerial, String) => (), 153, Family::Scan;
    /// How much a user has uploaded.
    MEDIA_USAGE_BY_USER: UserSerial => MediaUsageRecord, 154, Family::Index;
    /// The files that a user has promised and not uploaded, by when the promise ends.
    PENDING_MEDIA_BY_USER: (UserSerial, u64, String) => (), 155, Family::Scan;
    /// What is known about the thumbnails of some content, by size and method.
    THUMBNAIL_BY_CONTENT: (ContentHash, String) => ThumbnailRecord, 156, Family::Scan;
    /// The rows of `THUMBNAIL_BY_CONTENT`, oldest first, with the bytes that each counts.
    THUMBNAIL_BY_AGE: (u64, ContentHash, String) => u64, 157, Family::Queue;
    /// The bytes that all thumbnails count together.
    THUMBNAIL_USAGE: () => u64, 158, Family::Index;
    /// The bytes that an administrator has put into quarantine: no file that has them is
    /// given out.
    QUARANTINE_BY_CONTENT: ContentHash => QuarantineRecord, 126, Family::Index;
    /// The files of this server that are not put into quarantine with others, by media id.
    PROTECTED_MEDIA: String => (), 132, Family::Index;
    /// What came of fetching web pages, by the SHA-256 of their address.
    PREVIEW_BY_URL: [u8; 32] => PreviewRecord, 133, Family::Index;
    /// The same by when it ends to be good, in ms since the Unix epoch.
    PREVIEW_BY_AGE: (u64, [u8; 32]) => (), 134, Family::Queue;
    /// The bytes of small files; larger ones lie in the folder for files.
    SMALL_FILE_BY_CONTENT: ContentHash => Vec<u8>, 75, Family::Files;

    // Push.

    /// The pushers of each local user, by `app_id` and `pushkey`.
    PUSHER_BY_USER: (UserSerial, String, String) => PusherRecord, 170, Family::Scan;
    /// Whose pushers have an `app_id` and `pushkey`.
    PUSHER_BY_KEY: (String, String, UserSerial) => (), 171, Family::Scan;
    /// What waits to be sent to a pusher's gateway, in the order of the log.
    PUSH_BY_PUSHER: (PusherSerial, Position, u32) => PushRecord, 172, Family::Queue;
    /// The number of unread messages that a pusher's gateway was told last.
    TOLD_COUNT_BY_PUSHER: PusherSerial => u64, 173, Family::Index;

    // Other servers.

    /// The servers that do not answer, by name, and when each is tried again.
    PEER_BY_NAME: String => PeerRecord, 174, Family::Index;
    /// Every signing key that another server has ever published, by server and key id.
    /// Never deleted: what it signed must stay verifiable when the server is gone.
    PEER_KEY_BY_ID: (String, String) => PeerKeyRecord, 175, Family::Scan;
    /// The newest document of each other server's keys, as it was signed: for those who
    /// ask this server as a notary.
    PEER_DOCUMENT_BY_NAME: String => PeerDocumentRecord, 176, Family::Index;
    /// The signed list of servers in force, or the last that was.
    PEER_LIST: () => PeerListRecord, 193, Family::Index;
    /// The keys with which this server signed once, by key id.
    OLD_KEY_BY_ID: String => OldKeyRecord, 177, Family::Index;
    /// The files of other servers that are kept, by server and media id. Their bytes are
    /// needed as `MEDIA_BY_CONTENT` says, under the name `server/media id`.
    REMOTE_MEDIA_BY_ID: (String, String) => RemoteMediaRecord, 178, Family::Index;
    /// The rows of `REMOTE_MEDIA_BY_ID` by when they were fetched, with the bytes of each.
    REMOTE_MEDIA_BY_AGE: (u64, String, String) => u64, 179, Family::Queue;
    /// The bytes that all kept files of other servers have together.
    REMOTE_MEDIA_USAGE: () => u64, 180, Family::Index;

    // What other servers are told.

    /// The other servers of whose users a room has or had memberships, of whatever kind.
    SERVER_BY_ROOM: (RoomSerial, String) => RoomServerRecord, 181, Family::Scan;
    /// The rooms in which a server has users now.
    ROOM_BY_SERVER: (String, RoomSerial) => (), 183, Family::Scan;
    /// The events of other servers' users that came in by way of this server, which has to
    /// bring them to all others.
    RELAYED_EVENT: EventSerial => (), 184, Family::Index;
    /// The rooms of which a server has not been sent everything.
    WAITING_ROOM_BY_SERVER: (String, RoomSerial) => WaitingRoomRecord, 185, Family::Queue;
    /// The transaction that is being sent to a server.
    TRANSACTION_BY_SERVER: String => ServerTransaction, 186, Family::Queue;
    /// What else waits to be sent to a server, in the order of the log, and never gets
    /// lost: messages to devices, changes of devices and keys.
    EDU_BY_SERVER: (String, Position, u32) => ServerEdu, 187, Family::Queue;
    /// How much of that waits for a server.
    EDU_QUEUE_BY_SERVER: String => EduQueueRecord, 188, Family::Index;
    /// The devices and keys of a local user as other servers were told last.
    PUBLISHED_DEVICES_BY_USER: UserSerial => PublishedDevicesRecord, 189, Family::Index;

    // Rooms shared with other servers.

    /// The gaps of a room's graph: by the depth of an event, the id of a missing one that
    /// comes directly before it. The value is the event above the gap.
    GAP_BY_DEPTH: (RoomSerial, Depth, String) => EventSerial, 190, Family::Scan;
    /// The same by the missing event.
    GAP_BY_EVENT: (RoomSerial, String, Depth) => (), 191, Family::Scan;
    /// The redactions of events that are not held here yet, by the missing event.
    REDACTION_BY_MISSING: (RoomSerial, String, EventSerial) => (), 192, Family::Scan;
    /// Whose devices changed, by room known in part and server, of those of whom nobody knows
    /// whether they are in the room.
    UNPLACED_DEVICES_BY_ROOM: (RoomSerial, String) => UnplacedDevicesRecord, 235, Family::Scan;

    // Administration.

    /// The audit trail: each entry by its number, from 1 on without a hole.
    AUDIT_BY_NUMBER: u64 => AuditRecord, 200, Family::Scan;
    /// The entries that name somebody or something: who did it, on whom, in which room.
    AUDIT_BY_NAME: (String, u64) => (), 201, Family::Scan;
    /// The end of the audit trail.
    AUDIT_HEAD: () => AuditHeadRecord, 202, Family::Index;
    /// Each change of a membership of a room, by the commit that brought it (0: what had
    /// been before the register was).
    STAY_BY_ROOM: (RoomSerial, UserSerial, Position) => StayRecord, 203, Family::Scan;
    /// Each change of a room's name, levels, join rules and visibility, by event type and
    /// the commit that brought it.
    RULE_BY_ROOM: (RoomSerial, String, Position) => RuleRecord, 204, Family::Scan;
    /// How far the register has been filled from what was there before it.
    REGISTER_PROGRESS: () => RegisterProgressRecord, 205, Family::Index;
    /// The rooms into which nobody of this server may come, by room id, known here or not.
    BLOCKED_ROOM: String => BlockedRoomRecord, 206, Family::Index;

    // The second factor, and the console.

    /// What makes a person's one-time codes.
    CODE_GENERATOR_BY_USER: UserSerial => CodeGeneratorRecord, 207, Family::Index;
    /// A person's passkeys, by the SHA-256 of their id.
    PASSKEY_BY_USER: (UserSerial, [u8; 32]) => PasskeyRecord, 208, Family::Scan;
    /// A person's recovery codes that were not used yet, by their SHA-256.
    RECOVERY_CODE_BY_USER: (UserSerial, TokenHash) => (), 209, Family::Scan;
    /// The sessions in the console, by the SHA-256 of their token.
    CONSOLE_SESSION_BY_HASH: TokenHash => ConsoleSessionRecord, 210, Family::Index;
    /// A person's sessions in the console.
    CONSOLE_SESSION_BY_USER: (UserSerial, TokenHash) => (), 211, Family::Scan;
    /// The access tokens with which programs administer in a person's name; a second factor
    /// was given when each was made.
    PROGRAM_TOKEN_BY_USER: (UserSerial, TokenHash) => ProgramTokenRecord, 212, Family::Scan;

    // People beyond their accounts.

    /// What is known of a person beside the account: kind, end, limits, first invitation.
    PERSON_BY_USER: UserSerial => PersonRecord, 215, Family::Index;
    /// The accounts that end, by when, in ms since the Unix epoch.
    USER_BY_EXPIRY: (u64, UserSerial) => (), 216, Family::Scan;
    /// The links by which people put the end of their accounts off.
    RENEWAL_BY_HASH: TokenHash => RenewalRecord, 217, Family::Index;
    /// The rooms into which partners may come.
    OPENED_ROOM: RoomSerial => OpenedRoomRecord, 218, Family::Index;
    /// Every department, by its name in lower case.
    DEPARTMENT_BY_NAME: String => DepartmentRecord, 219, Family::Index;
    /// The people of a department, since when, in ms since the Unix epoch.
    MEMBER_BY_DEPARTMENT: (String, UserSerial) => u64, 220, Family::Scan;
    /// The departments of a person.
    DEPARTMENT_BY_USER: (UserSerial, String) => (), 221, Family::Scan;
    /// The rooms of a department.
    ROOM_BY_DEPARTMENT: (String, RoomSerial) => DepartmentRoomRecord, 222, Family::Scan;
    /// Who is still to come into a room, or to go out of it, for the sake of a department.
    PLACEMENT_BY_USER: (UserSerial, RoomSerial) => PlacementRecord, 223, Family::Scan;
    /// The accounts that are being closed.
    CLOSING_BY_USER: UserSerial => ClosingRecord, 224, Family::Index;

    // What administrators do with rooms.

    /// What administrators have begun with rooms and takes long, and what became of it, by its id.
    ROOM_TASK_BY_ID: String => RoomTaskRecord, 225, Family::Index;
    /// The rooms that were removed, of which the register still tells.
    PURGED_ROOM: RoomSerial => PurgedRoomRecord, 226, Family::Index;
    /// The same by room id: a room may have been removed, entered anew and removed again.
    PURGED_ROOM_BY_ID: (String, RoomSerial) => (), 227, Family::Scan;
    /// The rooms that are closed: nobody of this server comes in or says anything.
    CLOSED_ROOM: RoomSerial => ClosedRoomRecord, 228, Family::Index;
    /// The rooms whose ban lists this server heeds.
    BAN_LIST: RoomSerial => BanListRecord, 229, Family::Scan;
    /// The rooms that were made here as direct chats.
    DIRECT_ROOM: RoomSerial => (), 230, Family::Index;

    // Lists for administrators. Each row is written in the commit that changes what it says.

    /// The accounts of this server, by the name before the colon, in each list that has them.
    PERSON_BY_LIST: (PeopleList, SortedName, UserSerial) => ListedPersonRecord, 236, Family::Scan;
    /// The same accounts by every part of that name and of the name that somebody goes by.
    PERSON_BY_PART: (NamePart, UserSerial) => (), 237, Family::Scan;
    /// When a user of this server used any device last, in ms since the Unix epoch.
    LAST_SEEN_BY_USER: UserSerial => u64, 238, Family::Index;
    /// How far the accounts of before the lists have been put into them.
    PEOPLE_LISTS_PROGRESS: () => ListingProgressRecord, 239, Family::Index;
    /// What lists know of a room.
    LISTED_ROOM: RoomSerial => ListedRoomRecord, 240, Family::Scan;
    /// The rooms by their names, in each list that has them.
    ROOM_BY_LIST: (RoomsList, SortedName, RoomSerial) => (), 241, Family::Scan;
    /// The rooms by every part of their names and main aliases, and by the beginning of their ids.
    ROOM_BY_PART: (NamePart, RoomSerial) => (), 242, Family::Scan;
    /// How far the rooms of before the lists have been put into them.
    ROOMS_LISTS_PROGRESS: () => ListingProgressRecord, 243, Family::Index;
    /// The invitations in the order in which they were made: when, in ms since the Unix epoch.
    INVITATION_BY_TIME: (u64, TokenHash) => (), 244, Family::Scan;
    /// The invitations by the beginning of their token, which lists show.
    INVITATION_BY_NAME: (String, TokenHash) => (), 245, Family::Scan;
    /// What was put into quarantine, or taken out of it, in the order of the log.
    QUARANTINE_CHANGE_BY_POSITION: (Position, u32) => QuarantineChangeRecord, 246, Family::Scan;
    /// The servers that an administrator has blocked, by name in lower case.
    BLOCKED_SERVER: String => BlockedServerRecord, 247, Family::Index;
}
