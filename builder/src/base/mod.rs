//! The base system of a site, out of Debian's packages.

pub mod tree;
