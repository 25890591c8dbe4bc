//! Declares the flag with which the builder's build script makes the shared library out of this crate.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(preload)");
}
