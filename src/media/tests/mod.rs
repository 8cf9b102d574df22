//! Files in a temporary folder.

mod downloads;
mod house;
mod remote;
mod small_files;
mod thumbnails;
mod uploads;
