//! The commands as a user runs them, and the statements of documents about them. All tests are one program: linking
//! each file as its own program took minutes and gigabytes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod advice;
mod architecture;
mod bad_input;
mod base;
mod boot_chart;
mod common;
mod console;
mod exit_codes;
mod first_hour;
mod hostile_inputs;
mod json;
mod keys;
mod links;
mod logging;
mod markers;
mod next_commands;
mod one_line;
mod recipes;
mod reference;
mod schemas;
mod secrets;
mod signals;
mod site_access;
mod terminal;
mod threat_model;
mod troubleshooting;
mod trust;
mod trust_of_nodes;
mod untouched_site;
mod words;
