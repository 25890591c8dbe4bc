//! Boots in virtual machines, and other tests that need the finished programs. All are in one program: linking each
//! file separately took minutes and gigabytes.

mod browse;
mod build;
mod clean_boot;
mod configure;
mod devices;
mod disk_loops;
mod disk_uses;
mod disks;
mod faults;
mod flash;
mod flash_cuts;
mod flash_faults;
mod flash_here;
mod foreign_tools;
mod imported_base;
mod media;
mod packages;
mod powercut;
mod readme;
mod repair;
mod repro;
mod rescue;
mod same_base;
mod seal;
mod seal_install;
mod selector;
mod setup;
mod slots;
mod surroundings;
