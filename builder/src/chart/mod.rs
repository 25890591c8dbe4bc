//! A boot report as a picture: what took how long, what waited for what.
//!
//! [`Timeline`] says what is to be seen, [`svg`] draws it. Nothing here reads a clock or a machine.

mod report_file;
mod svg;
mod timeline;

#[cfg(feature = "fuzzing")]
pub(crate) use report_file::find;
pub use report_file::{ReportError, read};
pub use svg::draw;
pub use timeline::{Kind, Row, Timeline};
