//! Describing an image: it is read part by part, so that a damaged part is reported and the others are still shown.
//!
//! Only reads. A seal is shown by its header, which is plain text and not verified: an image does not tell whom to
//! trust.

mod facts;
mod json;
mod map;
mod text;
mod usage;

pub(crate) use facts::stanzas;
pub use facts::{Inspection, OlderSeal, SealFacts, SecretFacts, SlotFacts, SlotState, inspect};
pub use json::to_json;
pub use map::to_svg;
pub use text::to_text;
