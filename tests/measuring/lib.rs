//! What measuring programs share.
//!
//! - [`client`]: HTTP/1.1 connections that cost the machine next to nothing.
//! - [`process`]: what the kernel says about processes.
//! - [`statistics`]: medians and percentiles, and numbers as people read them.

pub mod client;
pub mod process;
pub mod statistics;
