//! What an operator lives with: backups while people work and their restoring elsewhere,
//! what the service manager is told, metrics and health.

mod backups;
mod service;
mod watching;
