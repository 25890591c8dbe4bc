//! Why a stick was not flashed, with the exit code of each reason. What is wrong with the stick and what is wrong with the
//! image are different errors.

use super::medium::MediumError;
use super::probe::{LessRoom, ProbeError};
use crate::disks::look_error::BAD_STICK;
use crate::disks::presence::GONE;
use crate::error::{Class, Classified};
use std::io;
use std::path::{Path, PathBuf};

/// So many places are named; there may be more.
const MOST_PLACES: usize = 8;

/// Why a stick was not flashed.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum FlashError {
    /// The image has errors; nothing was written.
    #[error("{path} is damaged, and nothing was written: {}", faults.join("; "))]
    DamagedImage {
        /// The image.
        path: PathBuf,
        /// Part by part.
        faults: Vec<String>,
    },
    /// The image cannot be read.
    #[error("cannot read byte {offset} of the image {path}: {source}")]
    Image {
        /// The image.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        r#source: io::Error,
    },
    /// Somebody wrote to the image meanwhile.
    #[error("{path} changed while it was written to sticks")]
    ImageChanged {
        /// The image, or what it shares with others.
        path: PathBuf,
    },
    /// The tables for a stick of that size cannot be made.
    #[error("cannot make the partition table of {stick}: {source}")]
    Table {
        /// The stick.
        stick: String,
        /// Why.
        r#source: io::Error,
    },
    /// The stick failed.
    #[error("{stick}: {source}")]
    Medium {
        /// The stick.
        stick: String,
        /// Why.
        r#source: MediumError,
    },
    /// What was written, twice, is not there.
    #[error(
        "{stick} does not keep what is written to it, not the second time either: at byte {}",
        places(offsets)
    )]
    Wrong {
        /// The stick.
        stick: String,
        /// The places of the pieces that are wrong.
        offsets: Vec<u64>,
    },
    /// Fake capacity.
    #[error("{stick} is a fake: {source}")]
    LessRoom {
        /// The stick.
        stick: String,
        /// What was found.
        r#source: LessRoom,
    },
    /// It has become too slow to be sound.
    #[error("{stick} is worn: near byte {offset} it takes {rate} KiB/s, and took {before} KiB/s before")]
    Slow {
        /// The stick.
        stick: String,
        /// Where.
        offset: u64,
        /// Now.
        rate: u64,
        /// Before.
        before: u64,
    },
}

fn the_same(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn places(offsets: &[u64]) -> String {
    let mut named: Vec<String> = offsets.iter().take(MOST_PLACES).map(u64::to_string).collect();
    if offsets.len() > MOST_PLACES {
        named.push(format!("and {} more", offsets.len() - MOST_PLACES));
    }
    named.join(", ")
}

impl FlashError {
    /// The error of an image at a place.
    pub(super) fn of_image(image: &Path, offset: u64, source: &io::Error) -> Self {
        Self::Image { path: image.to_owned(), offset, source: the_same(source) }
    }

    /// The error of a medium that is called `stick`.
    pub(super) fn of_medium(stick: &str, source: MediumError) -> Self {
        Self::Medium { stick: stick.to_owned(), source }
    }

    /// The error of a look at the marks.
    pub(super) fn of_probe(stick: &str, error: ProbeError) -> Self {
        match error {
            ProbeError::Medium(source) => Self::of_medium(stick, source),
            ProbeError::LessRoom(source) => Self::LessRoom { stick: stick.to_owned(), source },
        }
    }
}

/// The exit code for a stick that has less room than it says.
pub const FAKE_STICK: u8 = 93;
/// That for a stick that went away, or where the work was broken off.
pub const CUT_OFF: u8 = GONE;

impl Classified for FlashError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::DamagedImage { .. } | Self::ImageChanged { .. } => Class::BadContent,
            Self::Image { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => Class::BadContent,
            Self::Image { source, .. } => Class::of_reading(source),
            Self::Table { .. } => Class::CannotCreate,
            Self::Medium { source: MediumError::Fails { source, .. }, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Class::CannotCreate
            }
            Self::Medium { .. } | Self::Wrong { .. } | Self::LessRoom { .. } | Self::Slow { .. } => Class::Io,
        })
    }

    fn own_exit_code(&self) -> Option<u8> {
        Some(match self {
            Self::Medium { source: MediumError::Gone | MediumError::BrokenOff, .. } => CUT_OFF,
            Self::Medium { .. } if self.class() == Class::Io => BAD_STICK,
            Self::Wrong { .. } | Self::Slow { .. } => BAD_STICK,
            Self::LessRoom { .. } => FAKE_STICK,
            _ => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        let advice = match self {
            Self::DamagedImage { .. } | Self::Image { .. } | Self::ImageChanged { .. } => {
                "build the image again"
            }
            Self::Table { .. } => return None,
            Self::Medium { source: MediumError::Gone | MediumError::BrokenOff, .. } => {
                "flash it again: what is there already is not written twice"
            }
            Self::Medium { .. } | Self::Wrong { .. } | Self::Slow { .. } => {
                "the stick is bad, not the image: take another"
            }
            Self::LessRoom { .. } => "take another, and give this one back",
        };
        Some(advice.into())
    }
}

/// Why a stick was not flashed, and what it is now.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{error}; {}", if *begun { "it holds nothing whole now, and nothing starts from it" } else { "nothing was written to it" })]
pub struct Failure {
    /// Why.
    pub error: FlashError,
    /// Whether anything was written to it.
    pub begun: bool,
}

impl Classified for Failure {
    fn own_class(&self) -> Option<Class> {
        None
    }
}
