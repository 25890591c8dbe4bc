//! Whether a stage of the configuration has what it needs: the node's seal, and the files that the seal requires for
//! it.
//!
//! The loader lets a boot go on without a file that only the configuration run needs, and, if the site wants that,
//! without any file. A run that failed halfway would leave a node half configured; so it is not begun, and the reason
//! is reported.

use crate::file;
use crate::report;
use crate::root::Root;
use handoff::fault::Fault;
use handoff::hash::Sha256Digest;
use handoff::manifest::{Entry, Manifest, Required, Store};
use handoff::paths;
use handoff::role_settings::Stage;
use keys::reconcile::compare_copy;

/// Why a stage cannot begin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The site lets its nodes boot without a seal that opens, and this is such a boot. Holds the loader's message.
    #[error("this boot goes on without the node's seal, so the node's roles and files are not known: {0}")]
    WithoutSeal(String),
    /// Files that the run needs are missing; holds their names.
    #[error("not started, because files that it needs are missing: {}", .0.join("; "))]
    Missing(Vec<String>),
}

/// Checks whether `stage` can begin.
pub fn check(root: &Root, stage: Stage) -> Result<(), NotReady> {
    let Ok(text) = file::read_text(&root.at(paths::MANIFEST)) else {
        return without_seal(root).map_or(Ok(()), |why| Err(NotReady::WithoutSeal(why)));
    };
    // The identity stage does what it can: a node without a file should still have its name and its network.
    if stage == Stage::Identity {
        return Ok(());
    }
    let Ok(mut manifest) = Manifest::decode(&text) else { return Ok(()) };
    manifest.entries.retain(|entry| entry.attributes.required != Required::Optional);
    let missing = missing(root, &manifest);
    if missing.is_empty() { Ok(()) } else { Err(NotReady::Missing(missing)) }
}

/// The loader's message about a boot without a seal.
fn without_seal(root: &Root) -> Option<String> {
    let faults = report::load(root).ok()?.faults;
    let causes = [Fault::SecretPartition, Fault::Identity, Fault::Seal].map(Fault::name);
    let fault = faults.into_iter().find(|fault| causes.contains(&fault.fault.as_str()))?;
    Some(format!("{}: {}", fault.fault, fault.message))
}

fn missing(root: &Root, needed: &Manifest) -> Vec<String> {
    let not_installed = report::load(root).map(|report| report.missing).unwrap_or_default();
    let is_needed = |path: &&String| needed.entries.iter().any(|entry| entry.path.as_str() == path.as_str());
    let mut missing: Vec<String> =
        not_installed.iter().filter(is_needed).map(|path| format!("{path} could not be installed")).collect();
    match compare_copy(&root.at(paths::SECRETS), needed) {
        Ok(comparison) => missing.extend(comparison.differing.iter().map(ToString::to_string)),
        Err(error) => missing.push(error.to_string()),
    }
    let unusable = |entry: &&Entry| {
        let content = file::read(&root.at(paths::MEMORY_SECRETS).join(entry.path.as_str()));
        content.map_or(true, |content| Sha256Digest::of(&content) != entry.digest)
    };
    let in_memory = needed.stored_in(Store::Memory).filter(unusable);
    missing.extend(in_memory.map(|entry| format!("{} is not in memory", entry.path)));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::manifest::{FileAttributes, FileKind, RelativePath};
    use handoff::report::{BootReport, FaultReport};

    fn entry(path: &str, store: Store, required: Required) -> Entry {
        Entry {
            path: RelativePath::new(path).unwrap(),
            attributes: FileAttributes {
                mode: 0o600,
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                kind: FileKind::Opaque,
                store,
                install: None,
                required,
            },
            size: 3,
            digest: Sha256Digest::of(b"abc"),
        }
    }

    fn root(entries: Vec<Entry>) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let manifest = Manifest { entries, ..Manifest::default() };
        file::write(&root.at(paths::MANIFEST), manifest.encode().as_bytes(), 0o600).unwrap();
        file::create_folder(&root.at(paths::SECRETS)).unwrap();
        (folder, root)
    }

    #[test]
    fn a_run_starts_only_if_all_required_files_are_there() {
        for required in [Required::Boot, Required::Run] {
            let entries =
                vec![entry("disk", Store::Disk, required), entry("memory", Store::Memory, required)];
            let (_folder, root) = root(entries);
            let Err(NotReady::Missing(missing)) = check(&root, Stage::Configure) else { panic!() };
            assert_eq!(missing, ["disk: missing", "memory is not in memory"]);
            assert_eq!(check(&root, Stage::Identity), Ok(()));
            file::write(&root.at(paths::SECRETS).join("disk"), b"abc", 0o600).unwrap();
            file::write(&root.at(paths::MEMORY_SECRETS).join("memory"), b"abc", 0o600).unwrap();
            assert_eq!(check(&root, Stage::Configure), Ok(()));
            let report = BootReport { missing: vec!["disk".into()], ..BootReport::default() };
            file::write(&root.at(paths::BOOT_REPORT), report.to_json().as_bytes(), 0o600).unwrap();
            let Err(NotReady::Missing(missing)) = check(&root, Stage::Configure) else { panic!() };
            assert_eq!(missing, ["disk could not be installed"]);
        }
    }

    #[test]
    fn a_missing_optional_file_does_not_stop_the_run() {
        let (_folder, root) = root(vec![entry("disk", Store::Disk, Required::Optional)]);
        assert_eq!(check(&root, Stage::Configure), Ok(()));
    }

    #[test]
    fn a_boot_without_a_seal_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!(check(&root, Stage::Configure), Ok(()), "nothing is known to be wrong");
        let fault = FaultReport { fault: "identity".into(), message: "no key".into() };
        let report = BootReport { faults: vec![fault], ..BootReport::default() };
        file::write(&root.at(paths::BOOT_REPORT), report.to_json().as_bytes(), 0o600).unwrap();
        assert_eq!(check(&root, Stage::Identity), Err(NotReady::WithoutSeal("identity: no key".into())));
    }
}
