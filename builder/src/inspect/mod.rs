//! What an image is: read part by part, so that a damaged part is said and the others are still shown.
//!
//! Reads only. A seal is shown by its header, which is plain and unproven: an image does not say whom to trust.

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
