//! Declares the flag with which the builder's build script compiles this crate as a shared library.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(preload)");
}
