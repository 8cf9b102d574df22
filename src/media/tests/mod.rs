//! Files in a temporary folder.

mod downloads;
mod house;
mod thumbnails;
mod uploads;
