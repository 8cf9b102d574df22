//! The rows that only events of other servers have.

use model::{Membership, MembershipRecord, RoomSerial, rewriting_scope, tables};
use ruma_common::UserId;
use store::{Batch, Latest, Read};

use crate::{
    AppendError, gaps, relay,
    rows::{Context, Progress, member_rows, user},
    staging::{Arrival, Staged, StagedMember, Staging},
};

/// The gaps that an event opens and closes, and the redactions that it meets.
pub(crate) fn rows(room: RoomSerial, staged: &Staged, arrival: &Arrival, batch: &mut Batch) {
    let event_id = staged.event.event_id().as_str();
    for missing in &arrival.gaps {
        gaps::put(batch, room, (staged.serial, staged.depth), missing);
    }
    gaps::close(batch, room, event_id, &arrival.was_missing);
    if arrival.is_relayed {
        relay(batch, staged.serial);
    }
    if let Some(missing) = &arrival.redacts_missing {
        let key = (room, missing.to_string(), staged.serial);
        batch.put(&tables::REDACTION_BY_MISSING, &key, &());
    }
    for redaction in &arrival.redactions {
        let key = (room, event_id.to_owned(), *redaction);
        batch.delete(&tables::REDACTION_BY_MISSING, &key);
    }
    if let Some(redaction) = arrival.redacted_by {
        batch.put(&tables::REDACTION_BY_EVENT, &staged.serial, &redaction);
        batch.wake(rewriting_scope(room));
    }
}

/// The rows of a membership that follows from the room's new state.
pub(crate) fn member(
    staging: &mut Staging,
    changed: StagedMember,
    context: &Context<'_>,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    let room = staging.room;
    let member = user(progress, context, latest, batch, &changed.user_id)?;
    let Some(event) = changed.event else {
        // The room has no word about this user any more: nobody is in a room unsaid.
        let before = latest.get(&tables::MEMBERSHIP_BY_USER, &(member, room))?;
        if let Some(before) = before {
            let record = MembershipRecord {
                membership: Membership::Leave,
                position: progress.position.0,
                ..before
            };
            let is_local = is_local(&changed.user_id, context);
            member_rows(staging, member, record, is_local, progress, latest, batch)?;
        }
        return Ok(());
    };
    let sender = user(progress, context, latest, batch, &changed.sender)?;
    progress.since = match progress.is_entry {
        true => changed.sent_at.min(staging.now),
        false => staging.now,
    };
    let record = MembershipRecord {
        membership: changed.membership,
        event,
        position: progress.position.0,
        sender,
        forgotten: false,
        last_join: 0,
        left_at: 0,
    };
    let is_local = is_local(&changed.user_id, context);
    member_rows(staging, member, record, is_local, progress, latest, batch)
}

fn is_local(user_id: &str, context: &Context<'_>) -> bool {
    UserId::parse(user_id).is_ok_and(|id| id.server_name() == context.server_name)
}
