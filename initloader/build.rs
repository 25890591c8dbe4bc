//! How the static loader is linked: without unwind tables, with packed relocations. At every boot it is in memory
//! twice, in the initramfs and as a process, so its size matters.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    // Only the profile `node` aborts on panic; it is also the only one with this optimization level.
    if !is("CARGO_CFG_TARGET_ENV", "musl") || !is("OPT_LEVEL", "z") {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/link.ld");
    for argument in ["--no-eh-frame-hdr", "-z,pack-relative-relocs", "-z,noseparate-code"] {
        println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
    }
}
