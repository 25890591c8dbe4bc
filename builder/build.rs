//! Tells cargo which folders are embedded: `include_dir!` alone does not notice a new file in them.

fn main() {
    for folder in ["../overlays", "site-template"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
