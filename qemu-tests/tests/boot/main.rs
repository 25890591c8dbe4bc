//! Boots in virtual machines, and what else needs the finished programs. One program for all of them: linking each file by
//! itself took minutes and gigabytes.

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
mod slots;
mod surroundings;
