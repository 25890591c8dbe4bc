//! The packages of nodes whose set of packages is not the site's, stored in the lock as the difference from the site's.
//!
//! Only the root differs. Kernel, boot stub and the programs of rescue are the same for all nodes of a site.

use super::locked_package::{LockedPackage, Part, RawPackage};
use serde::{Deserialize, Serialize};

/// Another set of packages, as a difference from those of the site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    /// The packages that the set wants beyond the site's `extra`, by name.
    pub wanted: Vec<String>,
    /// Packages of the site's root that the set does not have, by name.
    pub without: Vec<String>,
    /// Packages that the site does not have, or has in another version. Sorted.
    pub packages: Vec<LockedPackage>,
}

impl Variant {
    /// The difference between the packages of the site's root and those of the set.
    pub(super) fn between(
        wanted: Vec<String>,
        of_site: &[LockedPackage],
        of_set: Vec<LockedPackage>,
    ) -> Self {
        let has = |all: &[LockedPackage], name: &str| all.iter().any(|package| package.name == name);
        let mut without: Vec<String> = of_site
            .iter()
            .filter(|package| !has(&of_set, &package.name))
            .map(|package| package.name.clone())
            .collect();
        without.sort();
        let mut packages: Vec<LockedPackage> =
            of_set.into_iter().filter(|package| !of_site.contains(package)).collect();
        packages.sort();
        Self { wanted, without, packages }
    }

    /// All packages of the set, made from those of the site. Sorted.
    pub(super) fn applied_to(&self, of_site: &[LockedPackage]) -> Vec<LockedPackage> {
        let replaced = |name: &str| self.packages.iter().any(|package| package.name == name);
        let stays = |package: &&LockedPackage| {
            package.part != Part::Base || !(self.without.contains(&package.name) || replaced(&package.name))
        };
        let mut packages: Vec<LockedPackage> = of_site.iter().filter(stays).cloned().collect();
        packages.extend_from_slice(&self.packages);
        packages.sort();
        packages
    }
}

/// `[[variant]]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVariant {
    wanted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    package: Vec<RawPackage>,
}

impl From<&Variant> for RawVariant {
    fn from(variant: &Variant) -> Self {
        Self {
            wanted: variant.wanted.clone(),
            without: variant.without.clone(),
            package: variant.packages.iter().map(RawPackage::from).collect(),
        }
    }
}

impl RawVariant {
    /// All texts that messages quote.
    pub(super) fn words(&self) -> impl Iterator<Item = &String> {
        self.wanted.iter().chain(&self.without)
    }

    /// The variant, given the packages of the site; the error says what is not valid in it.
    pub(super) fn resolve(self, of_site: &[LockedPackage]) -> Result<Variant, String> {
        let name = format!("variant [{}]", self.wanted.join(", "));
        let packages: Result<Vec<LockedPackage>, String> =
            self.package.into_iter().map(LockedPackage::try_from).collect();
        let mut packages = packages.map_err(|problem| format!("{name}: {problem}"))?;
        if let Some(other) = packages.iter().find(|package| package.part != Part::Base) {
            return Err(format!("{name}: package {} is not a package of the root", other.name));
        }
        let in_root =
            |name: &String| of_site.iter().any(|package| package.part == Part::Base && package.name == *name);
        if let Some(stranger) = self.without.iter().find(|name| !in_root(name)) {
            return Err(format!("{name}: it leaves out {stranger}, which is not among the site's packages"));
        }
        packages.sort();
        Ok(Variant { wanted: self.wanted, without: self.without, packages })
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock::tests::package;
    use super::*;

    #[test]
    fn a_difference_is_undone() {
        let kernel = package(Part::Kernel, "linux", "6");
        let root = [package(Part::Base, "libc6", "1"), package(Part::Base, "wget", "1")];
        let set = vec![package(Part::Base, "jq", "1"), package(Part::Base, "libc6", "2")];
        let variant = Variant::between(vec!["jq".into()], &root, set.clone());
        assert_eq!((variant.without.as_slice(), &variant.packages), (["wget".to_owned()].as_slice(), &set));
        let site = [root.as_slice(), std::slice::from_ref(&kernel)].concat();
        assert_eq!(variant.applied_to(&site), [set.as_slice(), &[kernel]].concat());
        let same = Variant::between(vec!["libc6".into()], &root, root.to_vec());
        assert_eq!((same.without.len(), same.packages.len()), (0, 0));
        assert_eq!(same.applied_to(&root), root);
    }

    #[test]
    fn a_package_that_stays_in_the_kernel_may_have_the_name_of_one_that_goes() {
        let site = [package(Part::Base, "busybox-static", "1"), package(Part::Boot, "busybox-static", "1")];
        let newer = vec![package(Part::Base, "busybox-static", "2")];
        let variant = Variant::between(vec!["busybox-static=2".into()], &site[..1], newer.clone());
        assert_eq!(variant.applied_to(&site), [newer.as_slice(), &site[1..]].concat());
    }
}
