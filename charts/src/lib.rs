//! The pictures that `psyops` draws, as SVG 1.1: where the time of a boot went, and what is on a disk.
//!
//! Values in, text out: nothing here reads a file, a clock or a machine. What is to be drawn is described by types of
//! this crate ([`timeline::Timeline`], [`disk_map::DiskMap`]), which the builder makes from what it read.

pub mod boot_chart;
pub mod disk_map;
mod page;
mod size;
pub mod timeline;

pub use size::size;
