//! How a new lock differs from the one before, package by package, for the person who decides whether to accept it.

use super::lock::Lock;
use super::locked_package::{LockedPackage, Part};
use super::variant::Variant;
use crate::tools::{DPKG, ToolError};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// How a package changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The package is new in the lock.
    Added,
    /// The package is no longer in the lock.
    Removed,
    /// The new lock has a later version.
    Upgraded,
    /// The new lock has an earlier version.
    Downgraded,
    /// The version is the same, but the file is another one.
    Replaced,
}

/// A package that is added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// The part of the image that the package is taken for.
    pub part: Part,
    /// The name of the package.
    pub name: String,
    /// How it changes.
    pub kind: ChangeKind,
    /// Its version in the old lock; none for an added package.
    pub before: Option<String>,
    /// Its version in the new lock; none for a removed package.
    pub after: Option<String>,
    /// The size of its new file in bytes; none for a removed package.
    pub size: Option<u64>,
}

/// Whether a set of packages is new, kept or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SetState {
    /// No node had the set before. Its changes are counted from the packages of the site.
    New,
    /// The set was there before. Its changes leave out those that are the same for the site.
    Kept,
    /// No node has the set any more.
    Gone,
}

/// The changes for nodes that have another set of packages than the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantChanges {
    /// What these nodes want beyond the site's packages.
    pub wanted: Vec<String>,
    /// Whether the set is new, kept or gone.
    pub state: SetState,
    /// The changes of its packages.
    pub packages: Vec<PackageChange>,
}

/// A change of a base that is not made of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseChange {
    /// The base as `site.toml` names it.
    pub name: String,
    /// Its digest in the old lock; none where there was no such base.
    pub before: Option<String>,
    /// Its digest in the new lock; none where there is no such base any more.
    pub after: Option<String>,
}

/// All changes between two locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Whether the new lock differs from the old one at all, even if only in its request.
    pub any: bool,
    /// The change of the base, where it is a tar or an image.
    pub base: Option<BaseChange>,
    /// The changes for all nodes.
    pub site: Vec<PackageChange>,
    /// The changes for some nodes, by what those want. Sets without a change are not listed.
    pub variants: Vec<VariantChanges>,
}

impl Changes {
    /// Compares `old` with `new`. dpkg decides which of two versions is the later one.
    pub fn between(old: Option<&Lock>, new: &Lock) -> Result<Self, ToolError> {
        let packages = |lock: Option<&Lock>| lock.map_or_else(Vec::new, |lock| lock.packages.clone());
        let old_packages = packages(old);
        let site = compare(&old_packages, &new.packages)?;
        let find = |lock: Option<&Lock>, wanted: &[String]| -> Option<Variant> {
            lock?.variants.iter().find(|variant| variant.wanted == wanted).cloned()
        };
        let all = old.into_iter().chain([new]).flat_map(|lock| &lock.variants);
        let all: BTreeSet<&Vec<String>> = all.map(|variant| &variant.wanted).collect();
        let mut variants = Vec::new();
        for wanted in all {
            let (state, packages) = match (find(old, wanted), find(Some(new), wanted)) {
                (Some(before), Some(after)) => {
                    let (before, after) = (before.applied_to(&old_packages), after.applied_to(&new.packages));
                    let mut changes = compare(&before, &after)?;
                    changes.retain(|change| !site.contains(change));
                    (SetState::Kept, changes)
                }
                (None, Some(after)) => {
                    (SetState::New, compare(&new.packages, &after.applied_to(&new.packages))?)
                }
                (_, None) => (SetState::Gone, Vec::new()),
            };
            if state != SetState::Kept || !packages.is_empty() {
                variants.push(VariantChanges { wanted: wanted.clone(), state, packages });
            }
        }
        let imported =
            |lock: &Lock| lock.imported.as_ref().map(|imported| format!("sha256:{}", imported.digest()));
        let (before, after) = (old.and_then(imported), imported(new));
        let name = || new.request.base.to_string();
        let base = (before != after).then(|| BaseChange { name: name(), before, after });
        Ok(Self { any: old != Some(new), base, site, variants })
    }

    /// How many packages change, over all sets.
    #[must_use]
    pub fn count(&self) -> usize {
        let in_variants: usize = self.variants.iter().map(|variant| variant.packages.len()).sum();
        self.site.len().saturating_add(in_variants)
    }
}

fn compare(old: &[LockedPackage], new: &[LockedPackage]) -> Result<Vec<PackageChange>, ToolError> {
    let find = |all: &[LockedPackage], wanted: &LockedPackage| {
        all.iter().find(|package| (package.part, &package.name) == (wanted.part, &wanted.name)).cloned()
    };
    let mut changes = Vec::new();
    for package in new {
        let before = find(old, package);
        if before.as_ref().is_none_or(|before| before.sha256 != package.sha256) {
            let kind = match &before {
                None => ChangeKind::Added,
                Some(before) => direction(&before.version, &package.version)?,
            };
            changes.push(PackageChange {
                part: package.part,
                name: package.name.clone(),
                kind,
                before: before.map(|before| before.version),
                after: Some(package.version.clone()),
                size: Some(package.size),
            });
        }
    }
    let gone = old.iter().filter(|package| find(new, package).is_none());
    changes.extend(gone.map(|package| PackageChange {
        part: package.part,
        name: package.name.clone(),
        kind: ChangeKind::Removed,
        before: Some(package.version.clone()),
        after: None,
        size: None,
    }));
    changes.sort_by(|one, other| (one.part, &one.name).cmp(&(other.part, &other.name)));
    Ok(changes)
}

fn direction(before: &str, after: &str) -> Result<ChangeKind, ToolError> {
    Ok(match compare_versions(before, after)? {
        Ordering::Less => ChangeKind::Upgraded,
        Ordering::Equal => ChangeKind::Replaced,
        Ordering::Greater => ChangeKind::Downgraded,
    })
}

/// Compares two versions (deb-version(7)) with dpkg, the program that decides this on Debian.
fn compare_versions(one: &str, other: &str) -> Result<Ordering, ToolError> {
    let holds = |relation: &str| {
        let mut dpkg = DPKG.command()?;
        dpkg.args(["--compare-versions", "--", one, relation, other]);
        let ended = dpkg.status();
        let program = DPKG.name.to_owned();
        ended.map(|status| status.success()).map_err(|source| ToolError::Start { program, source })
    };
    Ok(if one == other {
        Ordering::Equal
    } else if holds("lt")? {
        Ordering::Less
    } else if holds("gt")? {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

#[cfg(test)]
mod tests {
    use super::super::lock::LockRequest;
    use super::super::lock::tests::package;
    use super::*;
    use crate::site::Base;

    fn lock(packages: &[(&str, &str)], variants: &[(&str, &[(&str, &str)])]) -> Lock {
        let request = LockRequest {
            architecture: &handoff::architecture::X86_64,
            base: Base::Micro,
            suite: "bookworm".into(),
            kernel: "linux-image-amd64".into(),
            extra: Vec::new(),
            rescue_ssh: false,
        };
        let root = |list: &[(&str, &str)]| -> Vec<LockedPackage> {
            list.iter().map(|(name, version)| package(Part::Base, name, version)).collect()
        };
        let site = root(packages);
        let variants =
            variants.iter().map(|(wanted, all)| Variant::between(vec![(*wanted).into()], &site, root(all)));
        Lock { request, imported: None, variants: variants.collect(), packages: site }
    }

    fn told(changes: &[PackageChange]) -> Vec<(&str, ChangeKind)> {
        changes.iter().map(|change| (change.name.as_str(), change.kind)).collect()
    }

    #[test]
    fn each_kind_of_change_is_listed() {
        let old = lock(&[("a", "1.9"), ("b", "1:1"), ("c", "1"), ("same", "1")], &[]);
        let mut new = lock(&[("a", "1.10"), ("b", "2"), ("d", "1"), ("same", "1")], &[]);
        let changes = Changes::between(Some(&old), &new).unwrap();
        let expected = [
            ("a", ChangeKind::Upgraded),
            ("b", ChangeKind::Downgraded),
            ("c", ChangeKind::Removed),
            ("d", ChangeKind::Added),
        ];
        assert_eq!((told(&changes.site).as_slice(), changes.any, changes.count()), (&expected[..], true, 4));
        assert_eq!((changes.site[0].before.as_deref(), changes.site[0].size), (Some("1.9"), Some(17)));
        new = old.clone();
        assert!(!Changes::between(Some(&old), &new).unwrap().any);
        new.packages[3].sha256 = handoff::hash::Sha256Digest::of(b"another file");
        assert_eq!(told(&Changes::between(Some(&old), &new).unwrap().site), [("same", ChangeKind::Replaced)]);
        assert_eq!(Changes::between(None, &old).unwrap().count(), 4);
    }

    #[test]
    fn changes_for_all_nodes_are_not_repeated_for_some() {
        let old = lock(&[("libc6", "1")], &[("jq", &[("jq", "1"), ("libc6", "1")]), ("pv", &[("pv", "1")])]);
        let new =
            lock(&[("libc6", "2")], &[("jq", &[("jq", "2"), ("libc6", "2")]), ("tree", &[("tree", "1")])]);
        let changes = Changes::between(Some(&old), &new).unwrap();
        assert_eq!(told(&changes.site), [("libc6", ChangeKind::Upgraded)]);
        let [jq, pv, tree] = changes.variants.as_slice() else { panic!("{changes:?}") };
        assert_eq!((jq.state, told(&jq.packages)), (SetState::Kept, vec![("jq", ChangeKind::Upgraded)]));
        assert_eq!((pv.state, pv.packages.len()), (SetState::Gone, 0));
        let in_tree = vec![("libc6", ChangeKind::Removed), ("tree", ChangeKind::Added)];
        assert_eq!((tree.state, told(&tree.packages)), (SetState::New, in_tree));
        assert_eq!(changes.count(), 4);
    }

    #[test]
    fn a_lock_for_another_request_is_a_different_lock() {
        let old = lock(&[("libc6", "1")], &[]);
        let mut new = old.clone();
        new.request.extra = vec!["libc6".into()];
        let changes = Changes::between(Some(&old), &new).unwrap();
        assert_eq!((changes.any, changes.count()), (true, 0));
    }
}
