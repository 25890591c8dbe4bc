//! PID 1 has few, known dependencies: a new crate needs a change of this list, and a reason in
//! docs/decisions/initloader.md.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::process::Command;

/// Direct dependencies of the loader.
const LOADER: [&str; 6] = ["argon2", "handoff", "keys", "medium", "nix", "thiserror"];
/// The dependencies that writing to raw partitions adds.
const MEDIUM: [&str; 4] = ["handoff", "keys", "nix", "thiserror"];
/// The dependencies that the loader's half of `keys` (without the feature `issue`) adds.
const KEYS: [&str; 13] = [
    "age",
    "age-core",
    "base64",
    "chacha20poly1305",
    "handoff",
    "hmac",
    "minisign-verify",
    "nix",
    "rustix",
    "sha2",
    "tar",
    "thiserror",
    "zeroize",
];
/// Crates that must not be used, even indirectly: a second parser, a runtime, a network.
const NEVER: [&str; 8] =
    ["clap", "serde_json", "tokio", "async-std", "regex", "reqwest", "openssl", "tracing"];

fn tree(package: &str, more: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none", "--package", package])
        .args(["--target", "x86_64-unknown-linux-musl"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_direct_dependencies_are_these() {
    assert_eq!(tree("initloader", &["--depth", "1"]), LOADER);
    assert_eq!(tree("medium", &["--depth", "1"]), MEDIUM);
    assert_eq!(tree("keys", &["--depth", "1"]), KEYS);
}

#[test]
fn no_large_crate_is_an_indirect_dependency() {
    let all = tree("initloader", &[]);
    for name in NEVER {
        assert!(!all.iter().any(|found| found == name), "{name} is a dependency of PID 1");
    }
}
