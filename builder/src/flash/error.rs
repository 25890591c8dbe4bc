//! Why a stick was not flashed, with the exit code of each reason. A fault of the stick and a fault of the image are
//! different errors.

use super::medium::MediumError;
use super::probe::{LessRoom, ProbeError};
use crate::disks::look_error::BAD_STICK;
use crate::disks::presence::GONE;
use crate::error::{Class, Classified};
use std::io;
use std::path::{Path, PathBuf};

/// How many places a message lists; there may be more.
const MOST_PLACES: usize = 8;

/// Why a stick was not flashed.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum FlashError {
    /// The image is damaged; nothing was written.
    #[error("{path} is damaged, so nothing was written: {}", faults.join("; "))]
    DamagedImage {
        /// The path of the image.
        path: PathBuf,
        /// What is wrong with each part.
        faults: Vec<String>,
    },
    /// The image could not be read.
    #[error("cannot read byte {offset} of the image {path}: {source}")]
    Image {
        /// The path of the image.
        path: PathBuf,
        /// The offset in the image, in bytes.
        offset: u64,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// Another process wrote to the image meanwhile.
    #[error("{path} was changed while it was written to sticks")]
    ImageChanged {
        /// The path of the image, or of the file that images share.
        path: PathBuf,
    },
    /// The partition table for a stick of that size could not be made.
    #[error("cannot make the partition table of {stick}: {source}")]
    Table {
        /// The name of the stick.
        stick: String,
        /// The error from making the table.
        r#source: io::Error,
    },
    /// A request to the stick failed.
    #[error("{stick}: {source}")]
    Medium {
        /// The name of the stick.
        stick: String,
        /// The error from the stick.
        r#source: MediumError,
    },
    /// A piece was written twice, and reading it back gave something else each time.
    #[error("{stick} lost what was written to it, twice: at byte {}", places(offsets))]
    Wrong {
        /// The name of the stick.
        stick: String,
        /// The offsets of the wrong pieces, in bytes.
        offsets: Vec<u64>,
    },
    /// The stick has less capacity than it claims.
    #[error("{stick} is a fake: {source}")]
    LessRoom {
        /// The name of the stick.
        stick: String,
        /// The claimed capacity, and the first place that does not keep data.
        r#source: LessRoom,
    },
    /// The stick became so slow that it must be worn out.
    #[error("{stick} is worn: near byte {offset} it writes {rate} KiB/s, before it wrote {before} KiB/s")]
    Slow {
        /// The name of the stick.
        stick: String,
        /// The offset of the last piece, in bytes.
        offset: u64,
        /// The rate now, in KiB/s.
        rate: u64,
        /// The best rate before, in KiB/s.
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
    /// The error for a failed read of an image.
    pub(super) fn of_image(image: &Path, offset: u64, source: &io::Error) -> Self {
        Self::Image { path: image.to_owned(), offset, source: the_same(source) }
    }

    /// The error for a failure of the medium; `stick` is its name.
    pub(super) fn of_medium(stick: &str, source: MediumError) -> Self {
        Self::Medium { stick: stick.to_owned(), source }
    }

    /// The error for a failure of the capacity probe; `stick` is the stick's name.
    pub(super) fn of_probe(stick: &str, error: ProbeError) -> Self {
        match error {
            ProbeError::Medium(source) => Self::of_medium(stick, source),
            ProbeError::LessRoom(source) => Self::LessRoom { stick: stick.to_owned(), source },
        }
    }
}

/// The exit code for a stick with less capacity than it claims.
pub const FAKE_STICK: u8 = 93;
/// The exit code for a stick that disappeared, or if the user stopped the work.
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
                "plug it in and flash it again; parts that are written already are skipped"
            }
            Self::Medium { .. } | Self::Wrong { .. } | Self::Slow { .. } => {
                "the stick is bad, not the image: use another one"
            }
            Self::LessRoom { .. } => "use another one and return this one",
        };
        Some(advice.into())
    }
}

/// Why a stick was not flashed, and in what state it is now.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{error}; {}", if *begun { "it is incomplete now, and no machine starts from it" } else { "nothing was written to it" })]
pub struct Failure {
    /// The error that ended the work on the stick.
    pub error: FlashError,
    /// Whether anything was written to the stick.
    pub begun: bool,
}

impl Classified for Failure {
    fn own_class(&self) -> Option<Class> {
        None
    }
}
