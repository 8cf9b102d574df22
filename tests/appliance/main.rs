//! What an operator lives with: the first run, certificates, backups while people work and their
//! restoring elsewhere, disks that fill up, files that are damaged, what the service manager is
//! told, metrics and health.

mod acme;
mod backups;
mod damage;
mod disk;
mod first_run;
mod service;
mod terminal;
mod tls;
mod watching;
