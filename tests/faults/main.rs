//! What a server does when the machine, its clients or other servers misbehave: what was acknowledged is
//! there, what cannot be done is said, and who is not concerned notices nothing.
//!
//! `strace` makes system calls of the server fail or last long, `prlimit` leaves it few files, and a
//! file system of its own turns read-only.

mod clients;
mod crowds;
mod dead_servers;
mod disks;
mod files;
mod read_only;
