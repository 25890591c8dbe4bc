//! Everything that psyopsOS does on the workstation.
//!
//! A site is read ([`site`]), its base system is made from Debian's archive ([`base`]), and all results are written
//! through one atomic writer ([`atomic`]). The library returns values; only the programs print.

pub mod atomic;
pub mod base;
mod beneath;
pub mod boot;
pub mod browse;
pub mod cli;
pub mod default_site;
pub mod details;
pub mod diff;
pub mod disks;
pub mod engine;
pub mod error;
pub mod export;
pub mod file_stamp;
pub mod flash;
pub mod folders;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod header_field;
pub mod ids;
pub mod image;
pub mod input;
pub mod inspect;
pub mod interrupt;
mod leftovers;
pub mod limits;
pub mod login_keys;
pub mod next_command;
mod overlays;
pub mod parallel;
pub mod private_memory;
pub mod programs;
pub mod progress;
pub mod rebuild;
pub mod report_file;
pub mod rescue_password;
pub mod root;
pub mod run;
pub mod sbom;
pub mod scratch;
pub mod secrets;
pub mod site;
pub mod staging;
pub mod store;
mod terminal;
pub mod tool_output;
pub mod tools;
pub mod tree;
pub mod verify;
mod width;
