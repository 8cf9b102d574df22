//! Files in a temporary folder.

mod downloads;
mod house;
mod small_files;
mod thumbnails;
mod uploads;
