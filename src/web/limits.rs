//! How much one client may ask for: token buckets per account, address and
//! failed sign-in, and the sizes that requests may have.
//!
//! A request with a valid token counts for its account, every other one for its
//! address: so an office behind one address is not throttled as one client, and
//! strangers still are.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use accounts::OwnRate;
use model::{DeviceSerial, UserSerial};
use parking_lot::{Mutex, RwLock};
use runtime::{Clock, Timestamp};

use crate::{ApiError, LimitsOptions, SyncSlot, sync_slots::SyncSlots};

/// The most buckets that one map holds, about 3 MB.
const MOST_BUCKETS: usize = 65_536;

/// A limit was reached; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests")]
pub struct LimitExceeded {
    /// How long to wait before the same would be allowed.
    pub retry_after: Duration,
}

impl From<LimitExceeded> for ApiError {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::limit_exceeded(exceeded.retry_after)
    }
}

/// The limits of this server. Clones share one state.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    options: RwLock<Arc<LimitsOptions>>,
    clock: Clock,
    accounts: Buckets<UserSerial>,
    addresses: Buckets<IpAddr>,
    /// By a keyed hash of the name.
    servers: Buckets<u64>,
    sign_in_addresses: Buckets<IpAddr>,
    /// By a keyed hash of the name, which may be any text.
    sign_in_users: Buckets<u64>,
    previews: Buckets<UserSerial>,
    mail_addresses: Buckets<IpAddr>,
    /// By a keyed hash of the e-mail address.
    mail_recipients: Buckets<u64>,
    hasher: RandomState,
    sync_slots: SyncSlots,
}

impl Limits {
    /// Limits with nothing used up yet.
    pub fn new(options: LimitsOptions, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            options: RwLock::new(Arc::new(options)),
            clock,
            accounts: Buckets::default(),
            addresses: Buckets::default(),
            servers: Buckets::default(),
            sign_in_addresses: Buckets::default(),
            sign_in_users: Buckets::default(),
            previews: Buckets::default(),
            mail_addresses: Buckets::default(),
            mail_recipients: Buckets::default(),
            hasher: RandomState::new(),
            sync_slots: SyncSlots::default(),
        }))
    }

    /// The options in force.
    pub fn options(&self) -> Arc<LimitsOptions> {
        self.0.options.read().clone()
    }

    /// Puts other options into force: when the configuration is read again.
    pub fn change(&self, options: LimitsOptions) {
        *self.0.options.write() = Arc::new(options);
    }

    /// Counts a request of an account, which may have limits of its own.
    ///
    /// # Errors
    /// [`LimitExceeded`] if it sends too many.
    pub fn count_account(
        &self,
        user: UserSerial,
        own: Option<OwnRate>,
    ) -> Result<(), LimitExceeded> {
        let options = self.options();
        let per_second = own.and_then(|own| own.per_second);
        if per_second == Some(0) {
            return Ok(());
        }
        let rate = Rate::per_second(
            per_second.unwrap_or(options.requests_per_second_per_account),
            own.and_then(|own| own.burst)
                .unwrap_or(options.burst_per_account)
                .max(1),
        );
        self.take(&options, &self.0.accounts, user, rate)
    }

    /// Counts a request from `address` whose sender is not known.
    ///
    /// # Errors
    /// [`LimitExceeded`] if it sends too many.
    pub fn count_address(&self, address: IpAddr) -> Result<(), LimitExceeded> {
        let options = self.options();
        let rate = Rate::per_second(
            options.requests_per_second_per_address,
            options.burst_per_address,
        );
        self.take(&options, &self.0.addresses, network_of(address), rate)
    }

    /// Counts a request that another server has signed.
    ///
    /// # Errors
    /// [`LimitExceeded`] if it sends too many.
    pub fn count_server(&self, server: &str) -> Result<(), LimitExceeded> {
        let options = self.options();
        let rate = Rate::per_second(
            options.requests_per_second_per_server,
            options.burst_per_server,
        );
        let server = self.0.hasher.hash_one(server);
        self.take(&options, &self.0.servers, server, rate)
    }

    /// Counts an attempt to prove who one is (a password, a token of an
    /// invitation), as failed until [`SignInAttempt::succeeded`] takes it back:
    /// so many attempts at the same time are limited too. Call it before the
    /// password is looked at, for unknown users as for known ones.
    ///
    /// # Errors
    /// [`LimitExceeded`] if `address` or `user` has failed too often.
    pub fn sign_in(&self, address: IpAddr, user: &str) -> Result<SignInAttempt, LimitExceeded> {
        let options = self.options();
        let (address, user) = (network_of(address), self.0.hasher.hash_one(user));
        let by_address = Rate::per_minute(
            options.failed_sign_ins_per_minute_per_address,
            options.failed_sign_in_burst_per_address,
        );
        let by_user = Rate::per_minute(
            options.failed_sign_ins_per_minute_per_user,
            options.failed_sign_in_burst_per_user,
        );
        self.take(&options, &self.0.sign_in_addresses, address, by_address)?;
        if let Err(exceeded) = self.take(&options, &self.0.sign_in_users, user, by_user) {
            self.0.sign_in_addresses.give_back(&address, by_address);
            return Err(exceeded);
        }
        Ok(SignInAttempt {
            limits: self.clone(),
            address: (address, by_address),
            user: (user, by_user),
        })
    }

    /// Counts a letter that somebody wants this server to send to `recipient`.
    ///
    /// # Errors
    /// [`LimitExceeded`] if `address` wants too many, or `recipient` would get too many.
    pub fn mail(&self, address: IpAddr, recipient: &str) -> Result<(), LimitExceeded> {
        let options = self.options();
        let (address, recipient) = (network_of(address), self.0.hasher.hash_one(recipient));
        let by_address = Rate::per_hour(
            options.mails_per_hour_per_address,
            options.mail_burst_per_address,
        );
        let by_recipient = Rate::per_hour(
            options.mails_per_hour_per_recipient,
            options.mail_burst_per_recipient,
        );
        self.take(&options, &self.0.mail_addresses, address, by_address)?;
        self.take(&options, &self.0.mail_recipients, recipient, by_recipient)
    }

    /// Counts a preview that somebody wants to see.
    ///
    /// # Errors
    /// [`LimitExceeded`] if the account wants too many.
    pub fn preview(&self, user: UserSerial) -> Result<(), LimitExceeded> {
        let options = self.options();
        let rate = Rate::per_minute(
            options.previews_per_minute_per_account,
            options.preview_burst_per_account,
        );
        self.take(&options, &self.0.previews, user, rate)
    }

    /// A place to wait for news of a device. If it has too many, its oldest one
    /// is told to end.
    pub fn sync_slot(&self, device: DeviceSerial) -> SyncSlot {
        let most = self.options().waiting_syncs_per_device.max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.0.sync_slots.take(device, most)
    }

    fn take<K: Hash + Eq + Copy>(
        &self,
        options: &LimitsOptions,
        buckets: &Buckets<K>,
        key: K,
        rate: Rate,
    ) -> Result<(), LimitExceeded> {
        if !options.enabled {
            return Ok(());
        }
        buckets.take(key, rate, self.0.clock.now())
    }
}

/// An attempt to sign in, counted as failed unless it [`succeeded`](Self::succeeded).
#[must_use]
pub struct SignInAttempt {
    limits: Limits,
    address: (IpAddr, Rate),
    user: (u64, Rate),
}

impl SignInAttempt {
    /// Takes the attempt back: it was right.
    pub fn succeeded(self) {
        let inner = &self.limits.0;
        inner
            .sign_in_addresses
            .give_back(&self.address.0, self.address.1);
        inner.sign_in_users.give_back(&self.user.0, self.user.1);
    }
}

/// An IPv6 address stands for its /64: a client has them all.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy)]
struct Rate {
    per_millisecond: f64,
    most: f64,
}

impl Rate {
    fn per_second(number: u64, most: u64) -> Self {
        Self::new(number as f64 / 1_000.0, most)
    }

    fn per_minute(number: u64, most: u64) -> Self {
        Self::new(number as f64 / 60_000.0, most)
    }

    fn per_hour(number: u64, most: u64) -> Self {
        Self::new(number as f64 / 3_600_000.0, most)
    }

    fn new(per_millisecond: f64, most: u64) -> Self {
        Self {
            // Zero would be a wait for ever, and an endless retry_after_ms.
            per_millisecond: per_millisecond.max(1.0 / 3_600_000.0),
            most: (most as f64).max(1.0),
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
    /// When it will be full, which is as if it were not there.
    full_at: Timestamp,
}

/// Token buckets by key, never more than [`MOST_BUCKETS`].
struct Buckets<K>(Mutex<Table<K>>);

struct Table<K> {
    buckets: HashMap<K, Bucket>,
    /// At this many, full buckets are thrown out.
    sweep_at: usize,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::new(Table {
            buckets: HashMap::new(),
            sweep_at: 1_024,
        }))
    }
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    fn take(&self, key: K, rate: Rate, now: Timestamp) -> Result<(), LimitExceeded> {
        let mut table = self.0.lock();
        table.make_room(now);
        let bucket = table.buckets.entry(key).or_insert(Bucket {
            tokens: rate.most,
            at: now,
            full_at: now,
        });
        let passed = now.since(bucket.at).as_millis() as f64;
        let tokens = (bucket.tokens + passed * rate.per_millisecond).min(rate.most);
        let left = tokens - 1.0;
        if left < 0.0 {
            let wait = (-left / rate.per_millisecond).ceil();
            return Err(LimitExceeded {
                retry_after: Duration::from_millis(wait as u64),
            });
        }
        let until_full = ((rate.most - left) / rate.per_millisecond).ceil() as u64;
        *bucket = Bucket {
            tokens: left,
            at: now,
            full_at: now.plus(Duration::from_millis(until_full)),
        };
        Ok(())
    }

    fn give_back(&self, key: &K, rate: Rate) {
        if let Some(bucket) = self.0.lock().buckets.get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(rate.most);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().buckets.len()
    }
}

impl<K: Hash + Eq + Copy> Table<K> {
    /// Throws out full buckets whenever the number has doubled. If a flood of
    /// different keys leaves too many that are not full, an arbitrary half goes:
    /// memory is worth more than the memory of who asked how much.
    fn make_room(&mut self, now: Timestamp) {
        if self.buckets.len() < self.sweep_at {
            return;
        }
        self.buckets.retain(|_, bucket| bucket.full_at > now);
        if self.buckets.len() >= MOST_BUCKETS / 2 {
            let mut keep = false;
            self.buckets.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        self.sweep_at = (self.buckets.len() * 2).clamp(1_024, MOST_BUCKETS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(clock: &Clock) -> Limits {
        let options = LimitsOptions {
            requests_per_second_per_account: 2,
            burst_per_account: 3,
            burst_per_address: 2,
            failed_sign_in_burst_per_user: 2,
            failed_sign_in_burst_per_address: 3,
            ..LimitsOptions::default()
        };
        Limits::new(options, clock.clone())
    }

    #[test]
    fn an_account_may_burst_and_then_keep_its_rate() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let limits = limits(&clock);
        let (alice, bob) = (UserSerial(1), UserSerial(2));
        for _ in 0..3 {
            limits.count_account(alice, None).unwrap();
        }
        let exceeded = limits.count_account(alice, None).unwrap_err();
        assert_eq!(exceeded.retry_after, Duration::from_millis(500));
        limits.count_account(bob, None).unwrap();
        // What it was told to wait is enough, and not more than one request.
        clock.advance(500);
        limits.count_account(alice, None).unwrap();
        limits.count_account(alice, None).unwrap_err();
        clock.advance(3_600_000);
        for _ in 0..3 {
            limits.count_account(alice, None).unwrap();
        }
        limits.count_account(alice, None).unwrap_err();
    }

    #[test]
    fn an_ipv6_client_has_one_bucket_for_its_network() {
        let limits = limits(&Clock::manual(Timestamp(0)));
        limits
            .count_address("2001:db8::1".parse().unwrap())
            .unwrap();
        limits
            .count_address("2001:db8::2".parse().unwrap())
            .unwrap();
        limits
            .count_address("2001:db8::3".parse().unwrap())
            .unwrap_err();
        limits
            .count_address("2001:db8:0:1::3".parse().unwrap())
            .unwrap();
        limits.count_address("192.0.2.1".parse().unwrap()).unwrap();
    }

    #[test]
    fn failed_sign_ins_are_counted_by_user_and_by_address() {
        let limits = limits(&Clock::manual(Timestamp(0)));
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..100 {
            limits.sign_in(here, "alice").unwrap().succeeded();
        }
        drop(limits.sign_in(here, "alice").unwrap());
        drop(limits.sign_in(there, "alice").unwrap());
        assert!(limits.sign_in(there, "alice").is_err(), "by user");
        drop(limits.sign_in(here, "bob").unwrap());
        drop(limits.sign_in(here, "carol").unwrap());
        assert!(limits.sign_in(here, "dora").is_err(), "by address");
        limits.sign_in(there, "dora").unwrap().succeeded();
    }

    #[test]
    fn letters_are_counted_by_recipient_and_by_address() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let limits = limits(&clock);
        limits.change(LimitsOptions {
            mail_burst_per_recipient: 2,
            mail_burst_per_address: 4,
            ..LimitsOptions::default()
        });
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        limits.mail(here, "a@b.example").unwrap();
        limits.mail(there, "a@b.example").unwrap();
        let exceeded = limits.mail(there, "a@b.example").unwrap_err();
        assert_eq!(exceeded.retry_after, Duration::from_secs(600));
        for to in ["c@d.example", "e@f.example", "g@h.example"] {
            limits.mail(here, to).unwrap();
        }
        limits.mail(here, "i@j.example").unwrap_err();
        limits.mail(there, "i@j.example").unwrap();
    }

    #[test]
    fn switched_off_nothing_is_counted() {
        let limits = limits(&Clock::manual(Timestamp(0)));
        limits.change(LimitsOptions {
            enabled: false,
            ..LimitsOptions::default()
        });
        for _ in 0..10_000 {
            limits.count_account(UserSerial(1), None).unwrap();
        }
    }

    #[test]
    fn buckets_are_bounded() {
        let buckets = Buckets::default();
        let rate = Rate::per_second(1, 10);
        for key in 0..300_000_u64 {
            buckets.take(key, rate, Timestamp(key / 1_000)).unwrap();
        }
        assert!(buckets.len() <= MOST_BUCKETS);
        buckets.take(u64::MAX, rate, Timestamp(1_000_000)).unwrap();
        for key in 0..MOST_BUCKETS as u64 {
            buckets
                .take(key, rate, Timestamp(2_000_000 + key * 1_000))
                .unwrap();
        }
        assert!(buckets.len() < 3_000, "full buckets are forgotten");
    }
}
