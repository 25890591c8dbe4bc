//! The tools of the boot tests: sites and their sticks, and disks whose partitions can be read and damaged. The machine
//! that boots them is the builder's own (`builder::run`).
//!
//! The tests themselves are in `tests/`. They need QEMU, OVMF and the programs that run on a node (see [`programs`]); a
//! tool or program that is missing is an error, never a skipped test.

pub mod agent_commands;
pub mod budget;
pub mod build_sandbox;
pub mod command;
mod dice;
pub mod disk;
pub mod flash_vm;
pub mod loop_device;
pub mod measured;
pub mod neighbour;
pub mod noise;
pub mod peers;
pub mod powercut;
pub mod programs;
pub mod selector_vm;
pub mod shell;
pub mod site_fixture;
pub mod slow_medium;
pub mod ssh;
pub mod stick;
pub mod timed;
pub mod tool_vm;
pub mod unpacked_kernel;
