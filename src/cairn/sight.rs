//! What the console sees of the running server.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

use console::{ConsoleOptions, Desk, KeptTables, Oversight};
use runtime::Lane;
use serde_json::Value;
use web::{Health, Limits};

use crate::{config::Config, health::Overseer, parts::Parts};

/// How much of the console may wait for the disk.
const QUEUE: usize = 32;

/// The configuration in effect as the console shows it; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Settings(Arc<RwLock<Value>>);

impl Settings {
    /// Shows this configuration from now on.
    pub(crate) fn show(&self, config: &Config) {
        let shown = serde_json::to_value(config).unwrap_or(Value::Null);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Shows what of another configuration takes effect while the server runs.
    pub(crate) fn show_changed(&self, config: &Config) {
        let mut new = serde_json::to_value(config).unwrap_or(Value::Null);
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for section in ["limits", "log", "application_services"] {
            shown[section] = new[section].take();
        }
    }
}

/// The running server, for the console.
#[derive(Clone)]
pub(crate) struct Sight {
    overseer: Overseer,
    settings: Settings,
    options: Arc<ConsoleOptions>,
    lane: Lane,
    /// Shared by the consoles of all listeners.
    tables: KeptTables,
}

impl Sight {
    /// The server that `overseer` looks after, with its configuration.
    pub(crate) fn new(overseer: &Overseer, settings: &Settings, config: &Config) -> Self {
        settings.show(config);
        Self {
            overseer: overseer.clone(),
            settings: settings.clone(),
            options: Arc::new(config.console.clone()),
            lane: Lane::new("console", 1, QUEUE),
            tables: KeptTables::default(),
        }
    }

    /// The console for those who come to that address.
    pub(crate) fn desk(&self, parts: &Parts, limits: &Limits, address: String) -> Desk {
        Desk {
            accounts: parts.accounts.clone(),
            actions: parts.actions.clone(),
            limits: limits.clone(),
            address: address.into(),
            oversight: Arc::new(self.clone()),
            options: self.options.clone(),
            lane: self.lane.clone(),
            clock: parts.clock.clone(),
            random: parts.random.clone(),
            tables: self.tables.clone(),
        }
    }
}

impl Oversight for Sight {
    fn health(&self) -> Pin<Box<dyn Future<Output = Health> + Send + '_>> {
        Box::pin(self.overseer.health())
    }

    fn pulse(&self) -> (u64, u64) {
        let store = &self.overseer.store;
        (store.snapshot().position().0, store.watches())
    }

    fn free_disk(&self) -> u64 {
        self.overseer.store.space().free
    }

    fn settings(&self) -> Value {
        let shown = self.settings.0.read();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
