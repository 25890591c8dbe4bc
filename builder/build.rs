//! Tells cargo which folders are embedded: `include_dir!` alone does not notice a new file in them.

fn main() {
    for folder in ["../overlays", "site-template"] {
        #[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
        {
            println!("cargo::rerun-if-changed={folder}");
        }
    }
}
