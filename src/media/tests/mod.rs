//! Files in a temporary folder.

mod downloads;
mod house;
mod remote;
mod thumbnails;
mod uploads;
