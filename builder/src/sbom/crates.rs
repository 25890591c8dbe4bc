//! The crates that our programs are linked with, from the lock file of their build.
//!
//! The lock file does not tell which crates are only for tests or other platforms, so the list may have some too many,
//! but lacks none.

use super::{Component, ComponentKind};
use serde::Deserialize;
use std::collections::BTreeSet;

const LOCK: &str = include_str!("../../../Cargo.lock");
/// The programs that go into images.
const PROGRAMS: [&str; 3] = ["agent", "initloader", "selector"];

#[derive(Deserialize)]
struct RawLock {
    package: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The programs and all crates that they depend on.
pub(super) fn linked() -> Vec<Component> {
    let lock: RawLock = toml::from_str(LOCK).expect("the lock file that this program was built with");
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&RawPackage> =
        lock.package.iter().filter(|package| PROGRAMS.contains(&package.name.as_str())).collect();
    while let Some(package) = waiting.pop() {
        if !found.insert(component(package)) {
            continue;
        }
        for wanted in &package.dependencies {
            // `NAME`, or `NAME VERSION` if there are several versions.
            let mut words = wanted.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next());
            waiting.extend(lock.package.iter().filter(|known| {
                known.name == name && version.is_none_or(|version| known.version == version)
            }));
        }
    }
    found.into_iter().collect()
}

fn component(package: &RawPackage) -> Component {
    Component {
        kind: if package.checksum.is_some() { ComponentKind::Crate } else { ComponentKind::Own },
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: None,
        sha256: package.checksum.clone(),
    }
}
