//! How the static loader is linked: without unwind tables, with relocations packed. It lies in memory twice at every
//! boot, in the initramfs and running, so its size counts.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    // The profile `node` alone aborts on panic; it is also the only one with this level.
    if !is("CARGO_CFG_TARGET_ENV", "musl") || !is("OPT_LEVEL", "z") {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/link.ld");
    for argument in ["--no-eh-frame-hdr", "-z,pack-relative-relocs", "-z,noseparate-code"] {
        println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
    }
}
