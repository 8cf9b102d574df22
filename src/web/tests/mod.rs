//! The floor as a whole: a small door behind a real front, asked in process and
//! over real sockets.

mod asking;
mod house;
mod listening;
