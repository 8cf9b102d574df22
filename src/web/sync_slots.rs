//! How many syncs of one device may wait.
//!
//! The newest wins. A client whose network changed starts a new sync while the
//! server still waits on the connection that is gone: refusing the new one would
//! keep the client in the dark until the old one times out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use model::DeviceSerial;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The waiting syncs of all devices. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct SyncSlots(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    next_number: u64,
    /// Oldest first. A device without waiting syncs has no entry.
    waiting: HashMap<DeviceSerial, VecDeque<Waiting>>,
}

struct Waiting {
    number: u64,
    /// Dropped to tell the waiting sync that it should end.
    _alive: oneshot::Sender<()>,
}

impl SyncSlots {
    /// A new slot for `device`; its oldest ones beyond `most` are told to end.
    pub(crate) fn take(&self, device: DeviceSerial, most: usize) -> SyncSlot {
        let (alive, superseded) = oneshot::channel();
        let mut table = self.0.lock();
        table.next_number += 1;
        let number = table.next_number;
        let waiting = table.waiting.entry(device).or_default();
        waiting.push_back(Waiting {
            number,
            _alive: alive,
        });
        while waiting.len() > most {
            waiting.pop_front();
        }
        SyncSlot {
            slots: self.clone(),
            device,
            number,
            superseded,
        }
    }
}

/// The right to wait for news of a device; given back when dropped.
pub struct SyncSlot {
    slots: SyncSlots,
    device: DeviceSerial,
    number: u64,
    superseded: oneshot::Receiver<()>,
}

impl SyncSlot {
    /// Waits until a newer sync of the device needs this place. The sync should
    /// then answer at once with what it has, as if its time had run out.
    /// Dropping the future loses nothing.
    pub async fn superseded(&mut self) {
        if !self.superseded.is_terminated() {
            let _ = (&mut self.superseded).await;
        }
    }
}

impl Drop for SyncSlot {
    fn drop(&mut self) {
        let mut table = self.slots.0.lock();
        if let Some(waiting) = table.waiting.get_mut(&self.device) {
            waiting.retain(|slot| slot.number != self.number);
            if waiting.is_empty() {
                table.waiting.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_superseded(slot: &mut SyncSlot) -> bool {
        tokio::time::timeout(Duration::from_millis(10), slot.superseded())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn the_newest_sync_wins() {
        let slots = SyncSlots::default();
        let (phone, laptop) = (DeviceSerial(1), DeviceSerial(2));
        let mut first = slots.take(phone, 2);
        let mut second = slots.take(phone, 2);
        let mut other = slots.take(laptop, 2);
        assert!(!is_superseded(&mut first).await);
        let mut third = slots.take(phone, 2);
        assert!(is_superseded(&mut first).await);
        assert!(is_superseded(&mut first).await, "and stays so");
        drop(first);
        assert!(!is_superseded(&mut second).await);
        assert!(!is_superseded(&mut third).await);
        assert!(!is_superseded(&mut other).await);
        drop((second, third, other));
        assert!(slots.0.lock().waiting.is_empty());
    }
}
