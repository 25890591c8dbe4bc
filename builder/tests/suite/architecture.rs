//! The differences between architectures are in one table, `handoff/src/architecture.rs`: no other code has their
//! names.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that belong to one architecture.
const WORDS: [&str; 11] = [
    "x86_64-unknown",
    "x86_64-linux",
    "target_arch",
    "amd64",
    "bootx64",
    "linuxx64",
    "ld-linux-x86",
    "ovmf",
    "q35",
    "qemu-system-x86",
    "4f68bce3",
];
/// Files with machine code, or that embed it for the builder's own processor, which is not that of nodes.
const MACHINE_CODE: [&str; 2] = ["selector/src/clock.rs", "builder/src/base/sandbox/preload.rs"];
const TABLE: &str = "handoff/src/architecture.rs";

#[test]
fn only_the_table_knows_an_architecture() -> Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
    let mut found = Vec::new();
    let mut files = 0;
    for package in ["agent", "builder", "handoff", "initloader", "keys", "medium", "selector"] {
        for path in sources(&checkout.join(package).join("src"))? {
            let name = path.strip_prefix(checkout)?.to_string_lossy().into_owned();
            let is_test = name.ends_with("tests.rs") || name.ends_with("fixture.rs");
            if name == TABLE || is_test || MACHINE_CODE.contains(&name.as_str()) {
                continue;
            }
            files += 1;
            found.extend(
                lines_that_know(&fs::read_to_string(&path)?)
                    .into_iter()
                    .map(|line| format!("{name}: {line}")),
            );
        }
    }
    ensure!(files > 300, "only {files} files were looked at");
    ensure!(found.is_empty(), "put this into {TABLE}:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn code_that_matches_on_an_architecture_is_found() {
    let text = "/// On amd64.\nlet a = \"main/binary-amd64\";\n#[cfg(test)]\nconst B: &str = \"q35\";\n";
    assert_eq!(lines_that_know(text), ["let a = \"main/binary-amd64\";"]);
}

/// Lines of code, without comments and tests, that have one of the words.
fn lines_that_know(text: &str) -> Vec<String> {
    let code = crate::common::without_tests(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//")).filter(|line| {
        let line = line.to_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    });
    lines.map(str::to_owned).collect()
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            paths.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(paths)
}
