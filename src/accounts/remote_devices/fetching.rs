//! Lists that are to be fetched, and what comes of it.

use std::{collections::BTreeMap, time::Duration};

use model::{
    CrossSigningKeyRecord, RemoteDeviceListRecord, RemoteDeviceRecord, UserSerial,
    tables::{
        CROSS_SIGNING_KEY_BY_USER, REMOTE_DEVICE_BY_USER, REMOTE_DEVICE_LIST_BY_USER,
        STALE_DEVICE_LIST_BY_TIME, USER_BY_ID,
    },
};
use ruma_common::{OwnedUserId, UserId};
use ruma_federation_api::device::get_devices::v1::Response;
use runtime::Timestamp;
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use super::{
    MAX_DEVICES, announce, checks, put_list,
    shown::{Acquaintances, is_true},
    stale_now, updates,
};
use crate::{
    Accounts,
    cross_signing::{MASTER, SELF_SIGNING},
};

/// The wait after the first failure; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// How many lists one commit begins to follow, or drops.
const AT_ONCE: usize = 100;

/// A list that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceListToFetch {
    /// Whose.
    pub user_id: OwnedUserId,
    user: UserSerial,
    marked_at: u64,
    failures: u32,
    /// What was published when this was read.
    position: Position,
}

/// Lists that are to be fetched now, and when the next one is.
#[derive(Clone, Debug, Default)]
pub struct DeviceListsToFetch {
    /// Those of now, the longest due first.
    pub now: Vec<DeviceListToFetch>,
    /// When to ask again, if there are others.
    pub next: Option<Timestamp>,
}

/// A list as its server told it, checked.
struct Fetched {
    stream_id: u64,
    devices: BTreeMap<String, RemoteDeviceRecord>,
    keys: Vec<(u8, CrossSigningKeyRecord)>,
}

impl Accounts {
    /// Has the lists of those users of other servers fetched and kept with whom the viewer, or somebody else here, shares a room. Returns whether there is
    /// anything to fetch now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn follow_devices(
        &self,
        viewer: UserSerial,
        users: Vec<OwnedUserId>,
    ) -> Result<bool, StoreError> {
        let shared = self.store().read_long(move |view| {
            let mut acquaintances = Acquaintances::of(view, Some(viewer));
            let mut shared = Vec::new();
            for user_id in users {
                let Some(user) = view.get(&USER_BY_ID, &user_id.to_string())? else {
                    continue;
                };
                if !is_true(view, &mut acquaintances, user)?
                    && acquaintances.share_room(user, u64::MAX)?
                {
                    shared.push((user, view.get(&REMOTE_DEVICE_LIST_BY_USER, &user)?));
                }
            }
            Ok::<_, StoreError>(shared)
        });
        let (shared, now) = (shared.await?, self.now());
        for some in shared.chunks(AT_ONCE) {
            let some = some.to_vec();
            self.store()
                .commit_later(move |latest, position, batch| {
                    for (user, seen) in some {
                        follow(latest, position, batch, (user, seen), now)?;
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        Ok(!shared.is_empty())
    }

    /// The lists that are to be fetched now, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_lists_to_fetch(
        &self,
        limit: usize,
    ) -> Result<DeviceListsToFetch, StoreError> {
        let now = self.now();
        // As last written: whoever waits for one may just have asked for it.
        let position = self.store().snapshot().position();
        self.store()
            .prepare(move |latest| to_fetch(latest, position, now, limit))
            .await
    }

    /// Those of some users' lists that are to be fetched, now or later.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_lists_of(
        &self,
        users: Vec<OwnedUserId>,
    ) -> Result<Vec<DeviceListToFetch>, StoreError> {
        let position = self.store().snapshot().position();
        self.store()
            .prepare(move |latest| {
                let mut lists = Vec::new();
                for user_id in users {
                    if let Some(user) = latest.get(&USER_BY_ID, &user_id.to_string())? {
                        lists.extend(list_to_fetch(latest, position, user)?);
                    }
                }
                Ok(lists)
            })
            .await
    }

    /// Keeps a list that its server has told. If that says nothing of use, or the list was changed again meanwhile, it stays to be fetched.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_list_fetched(
        &self,
        list: &DeviceListToFetch,
        answer: Response,
    ) -> Result<(), StoreError> {
        let (list, now) = (list.clone(), self.now());
        let Some(fetched) = checked(&list.user_id, &answer) else {
            log::debug!("the device list of {} cannot be used", list.user_id);
            return self.device_list_not_fetched(&list).await;
        };
        let user = list.user;
        let kept = self.store().prepare(move |latest| {
            let rows = latest.scan(&REMOTE_DEVICE_BY_USER, &(user,));
            let kept = rows.map(|row| row.map(|((_, device_id), device)| (device_id, device)));
            kept.collect::<Result<BTreeMap<_, _>, StoreError>>()
        });
        let is_other = kept.await? != fetched.devices;
        // Waited for, so that who asks from now on finds it.
        self.store()
            .commit(move |latest, position, batch| {
                keep(latest, position, batch, now, &list, (fetched, is_other))
            })
            .await
    }

    /// Notes that a list could not be fetched: it is tried again later, and later each time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_list_not_fetched(
        &self,
        list: &DeviceListToFetch,
    ) -> Result<(), StoreError> {
        let doubled = FIRST_WAIT.saturating_mul(1 << list.failures.min(16));
        let at = Timestamp(self.now()).plus(doubled.min(LONGEST_WAIT));
        self.retry_device_list(list, list.failures.saturating_add(1), at)
            .await
    }

    /// Notes that a list cannot be fetched before some time: its server is left alone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn postpone_device_list(
        &self,
        list: &DeviceListToFetch,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.retry_device_list(list, list.failures, until).await
    }

    async fn retry_device_list(
        &self,
        list: &DeviceListToFetch,
        failures: u32,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let list = list.clone();
        self.store()
            .commit_later(move |latest, _, batch| {
                let Some(before) = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &list.user)? else {
                    return Ok(());
                };
                let mut after = before.clone();
                if let Some(stale) = &mut after.stale
                    && stale.marked_at == list.marked_at
                {
                    stale.failures = failures;
                    stale.retry_at = at.0;
                    put_list(batch, list.user, Some(&before), &after);
                }
                Ok(())
            })
            .await
    }

    /// Forgets a list: its server says that there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_device_list(&self, list: &DeviceListToFetch) -> Result<(), StoreError> {
        let user = list.user;
        self.store()
            .commit_later(move |latest, _, batch| forget(latest, batch, user))
            .await
    }

    /// Forgets the lists of all with whom nobody here shares a room any more. Returns how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_strangers_devices(&self) -> Result<usize, StoreError> {
        let strangers = self.store().read_long(|view: &Snapshot| {
            let mut acquaintances = Acquaintances::of(view, None);
            let mut strangers = Vec::new();
            for row in view.scan(&REMOTE_DEVICE_LIST_BY_USER, &()) {
                let (user, _) = row?;
                if !acquaintances.share_room(user, u64::MAX)? {
                    strangers.push(user);
                }
            }
            Ok::<_, StoreError>(strangers)
        });
        let strangers = strangers.await?;
        for some in strangers.chunks(AT_ONCE) {
            let some = some.to_vec();
            self.store()
                .commit_later(move |latest, _, batch| {
                    some.into_iter()
                        .try_for_each(|user| forget(latest, batch, user))
                })
                .await?;
        }
        Ok(strangers.len())
    }
}

fn follow(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    (user, seen): (UserSerial, Option<RemoteDeviceListRecord>),
    now: u64,
) -> Result<(), StoreError> {
    let before = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &user)?;
    // What was fetched meanwhile may be true: who asks next finds out.
    if before != seen || before.as_ref().is_some_and(|list| list.stale.is_some()) {
        return Ok(());
    }
    let mut list = before.clone().unwrap_or(RemoteDeviceListRecord {
        stream_id: None,
        since: 0,
        devices: 0,
        stale: None,
    });
    list.stale = stale_now(position, now);
    put_list(batch, user, before.as_ref(), &list);
    Ok(())
}

fn to_fetch(
    view: &Latest,
    position: Position,
    now: u64,
    limit: usize,
) -> Result<DeviceListsToFetch, StoreError> {
    let mut found = DeviceListsToFetch::default();
    for row in view.scan(&STALE_DEVICE_LIST_BY_TIME, &()) {
        let ((at, user), ()) = row?;
        if at > now {
            found.next = Some(Timestamp(at));
            break;
        }
        if found.now.len() >= limit {
            found.next = Some(Timestamp(now));
            break;
        }
        found.now.extend(list_to_fetch(view, position, user)?);
    }
    Ok(found)
}

fn list_to_fetch(
    view: &Latest,
    position: Position,
    user: UserSerial,
) -> Result<Option<DeviceListToFetch>, StoreError> {
    let list = view.get(&REMOTE_DEVICE_LIST_BY_USER, &user)?;
    let name = model::user_id(view, user)?.and_then(|name| OwnedUserId::try_from(name).ok());
    let (Some(stale), Some(user_id)) = (list.and_then(|list| list.stale), name) else {
        return Ok(None);
    };
    Ok(Some(DeviceListToFetch {
        user_id,
        user,
        marked_at: stale.marked_at,
        failures: stale.failures,
        position,
    }))
}

/// What may be kept of an answer; none if it is not about the user, or far too long.
fn checked(user_id: &UserId, answer: &Response) -> Option<Fetched> {
    if answer.user_id != user_id || answer.devices.len() > MAX_DEVICES {
        return None;
    }
    let device = |device: &ruma_federation_api::device::get_devices::v1::UserDevice| {
        let name = device.device_display_name.as_deref();
        let checked = checks::device(user_id, &device.device_id, &device.keys, name)?;
        Some((device.device_id.to_string(), checked))
    };
    let (master, own) = (answer.master_key.as_ref(), answer.self_signing_key.as_ref());
    Some(Fetched {
        stream_id: answer.stream_id.into(),
        devices: answer.devices.iter().filter_map(device).collect(),
        keys: checks::signing_keys(user_id, None, master, own),
    })
}

fn keep(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    now: u64,
    list: &DeviceListToFetch,
    (fetched, mut is_other): (Fetched, bool),
) -> Result<(), StoreError> {
    let user = list.user;
    let Some(before) = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &user)? else {
        return Ok(());
    };
    let mut after = before.clone();
    let Some(stale) = &mut after.stale else {
        return Ok(());
    };
    if stale.marked_at != list.marked_at {
        // Something changed while the server was asked.
        stale.retry_at = now;
        put_list(batch, user, Some(&before), &after);
        return Ok(());
    }
    if is_other {
        batch.delete_prefix(&REMOTE_DEVICE_BY_USER, &(user,));
        for (device_id, device) in &fetched.devices {
            batch.put(&REMOTE_DEVICE_BY_USER, &(user, device_id.clone()), device);
        }
    }
    if fetched.keys.iter().all(|(usage, _)| *usage != MASTER) {
        for usage in [MASTER, SELF_SIGNING] {
            is_other |= latest.contains(&CROSS_SIGNING_KEY_BY_USER, &(user, usage))?;
            batch.delete(&CROSS_SIGNING_KEY_BY_USER, &(user, usage));
        }
    }
    is_other |= updates::write_signing_keys(latest, batch, user, fetched.keys)?;
    after = RemoteDeviceListRecord {
        stream_id: Some(fetched.stream_id),
        since: list.position.0,
        devices: u32::try_from(fetched.devices.len()).unwrap_or(u32::MAX),
        stale: None,
    };
    put_list(batch, user, Some(&before), &after);
    // Who asks before the first time gets what the user's server says.
    if is_other && before.stream_id.is_some() {
        announce(latest, position, batch, user)?;
    }
    Ok(())
}

fn forget(latest: &Latest, batch: &mut Batch, user: UserSerial) -> Result<(), StoreError> {
    let Some(list) = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &user)? else {
        return Ok(());
    };
    if let Some(stale) = list.stale {
        batch.delete(&STALE_DEVICE_LIST_BY_TIME, &(stale.retry_at, user));
    }
    batch.delete(&REMOTE_DEVICE_LIST_BY_USER, &user);
    batch.delete_prefix(&REMOTE_DEVICE_BY_USER, &(user,));
    batch.delete_prefix(&CROSS_SIGNING_KEY_BY_USER, &(user,));
    Ok(())
}
