//! Tells cargo which folders are embedded (`include_dir!` alone does not notice a new file in them), and gives each
//! build step a version that changes with its code, so that results of older code are never used for new ones. Also
//! builds the library that is loaded into the programs of the sandbox, and that is part of the builder.

use sha2::{Digest as _, Sha256};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The steps whose results are stored, and the sources of their code. `tests/suite/recipes.rs` compares these with what
/// that code imports.
const RECIPES: [(&str, &[&str]); 4] = [
    (
        "PSYOPS_RECIPE_BASE",
        &[
            "src/base",
            "src/tree",
            "src/tools.rs",
            "src/tools",
            "../preload/src",
            "../handoff/src/architecture.rs",
            "../handoff/src/init.rs",
        ],
    ),
    (
        "PSYOPS_RECIPE_ROOT",
        &[
            "src/tree",
            "src/root",
            "src/base/init.rs",
            "src/sbom",
            "src/engine/system.rs",
            "src/ids.rs",
            "src/overlays.rs",
            "src/site/overlay.rs",
            "src/tools.rs",
            "src/tools",
            "../handoff/src/init.rs",
            "../handoff/src/paths.rs",
            "../handoff/src/verity.rs",
        ],
    ),
    (
        "PSYOPS_RECIPE_BOOT",
        &["src/boot", "src/engine", "src/overlays.rs", "../overlays/rescue", "../handoff/src"],
    ),
    (
        "PSYOPS_RECIPE_IMAGE",
        &[
            "src/image",
            "src/secrets",
            "src/engine",
            "src/ids.rs",
            "src/overlays.rs",
            "src/root",
            "src/tools.rs",
            "src/tools",
            "../handoff/src",
            "../keys/src",
        ],
    ),
];
/// The versions of the crates that this code uses.
const CRATES: &str = "../Cargo.lock";

/// The processors for which there is a file in `preload/src/system_call/`, by Rust's names.
const PRELOADED: [&str; 2] = ["x86_64", "aarch64"];

fn main() -> io::Result<()> {
    for folder in ["../overlays", "site-template"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    for (variable, sources) in RECIPES {
        let mut hasher = Sha256::new();
        for source in sources.iter().copied().chain([CRATES]) {
            println!("cargo::rerun-if-changed={source}");
            for file in files(Path::new(source))? {
                let content = fs::read(&file)?;
                hasher.update(format!("{} {}\n", file.display(), content.len()));
                hasher.update(content);
            }
        }
        let digest: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        println!("cargo::rustc-env={variable}={digest}");
    }
    make_preload()
}

/// `OUT_DIR/preload.so`: the crate `preload` as a shared library that needs no other one. Cargo cannot express that a
/// package needs a library of another kind as a file, so the compiler is called here. Flags for the builder itself
/// (sanitizers, coverage) do not apply to it.
fn make_preload() -> io::Result<()> {
    let variable = |name: &str| env::var(name).map_err(io::Error::other);
    let place = Path::new(&variable("OUT_DIR")?).join("preload.so");
    // Without it, the sandbox reports that the packages are for another processor.
    if !PRELOADED.contains(&variable("CARGO_CFG_TARGET_ARCH")?.as_str()) {
        return fs::write(place, "");
    }
    let mut compiler = Command::new(variable("RUSTC")?);
    compiler.args([
        "--edition",
        "2024",
        "--crate-name",
        "preload",
        "--crate-type",
        "cdylib",
        "--cfg",
        "preload",
    ]);
    compiler.args(["--target", &variable("TARGET")?]);
    for option in ["opt-level=s", "panic=abort", "codegen-units=1", "overflow-checks=off", "strip=symbols"] {
        compiler.args(["-C", option]);
    }
    compiler.args([
        "-C",
        "link-arg=-nostdlib",
        "-C",
        "link-arg=-nostartfiles",
        "-C",
        "target-feature=-crt-static",
    ]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg("-C").arg(format!("linker={linker}"));
    }
    compiler.arg("-o").arg(place).arg("../preload/src/lib.rs");
    let ended = compiler.status()?;
    if ended.success() { Ok(()) } else { Err(io::Error::other(format!("{compiler:?}: {ended}"))) }
}

/// A file, or all files below a folder, sorted by name.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(if path.exists() { vec![path.to_owned()] } else { Vec::new() });
    }
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let mut below = Vec::new();
    for entry in entries {
        below.extend(files(&entry)?);
    }
    below.sort();
    Ok(below)
}
