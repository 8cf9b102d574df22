//! The domain as a whole, on a temporary store.

mod cross_signing;
mod data;
mod dehydrated_devices;
mod device_lists;
mod directory_backfill;
mod house;
mod key_backups;
mod keys;
mod login_tokens;
mod open_id;
mod passkeys;
mod people;
mod people_lists;
mod registration;
mod remote_devices;
mod second_factors;
mod sessions;
mod to_device;
mod uia;
mod user_directory;
