//! `OpenPGP` (RFC 9580) as archives of packages use it: texts that are signed in the clear, verified by the host's
//! programs ([`mod@verify`]), and signed with a key that lives as long as a build ([`mod@sign`]).

mod clear_signed;
mod sign;
mod verify;

pub(super) use clear_signed::ClearSigned;
pub(super) use sign::ThrowawayKey;
pub use verify::BadOpenPgp;
pub(super) use verify::verify;
