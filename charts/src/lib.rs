//! The charts that `psyops` draws, as SVG 1.1: the time that each step of a boot took, and the content of a disk.
//!
//! Values in, text out: this crate reads neither files nor clocks. Its types describe what to draw
//! ([`timeline::Timeline`], [`disk_map::DiskMap`]); the builder makes them from what it read.

pub mod boot_chart;
pub mod disk_map;
mod page;
mod size;
pub mod timeline;

pub use size::size;
