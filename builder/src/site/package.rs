//! Packages in site files: `NAME`, or `NAME=VERSION` to pin a version, as in apt's command line.
//!
//! The set of a node's system has the packages of `[packages] extra`, of the node's roles, and of the node itself.

use super::error::SiteError;
use super::source::Source;
use super::wanted_package::{WantedPackage, word};
use std::collections::BTreeMap;
use toml::Spanned;

impl WantedPackage {
    /// Reads the list under `key`. Names and versions follow Debian's policy, sections 5.6.1 and 5.6.12; nothing else
    /// may be passed to apt, for which more characters have a special meaning.
    pub(super) fn read_all(
        source: &Source,
        key: &'static str,
        typed: &[Spanned<String>],
    ) -> Result<Vec<Self>, SiteError> {
        typed.iter().map(|typed| Self::read(source, key, typed)).collect()
    }

    fn read(source: &Source, key: &'static str, typed: &Spanned<String>) -> Result<Self, SiteError> {
        let (name, version) = match typed.get_ref().split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (typed.get_ref().as_str(), None),
        };
        if !is_name(name) {
            let problem = "a package's name has at least two lower-case letters, digits, '+', '-' and '.', begins with \
                           a letter or digit and does not end with '-'; NAME=VERSION pins a version";
            return Err(source.wrong(key, typed, problem));
        }
        if version.is_some_and(|version| !is_version(version)) {
            let problem = "a version begins with a digit and has letters, digits, '.', '+', '-', '~' and ':'";
            return Err(source.wrong(key, typed, problem));
        }
        let (name, version) = (name.to_owned(), version.map(str::to_owned));
        Ok(Self { name, version, at: source.at(&typed.span()) })
    }
}

/// Whether this is the name of a package. A hyphen at the end would tell apt to remove the package.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() >= 2
        && text.starts_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '+' | '-' | '.'))
        && !text.ends_with('-')
}

pub(crate) fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':'))
}

/// The packages of a system in addition to its base. Nodes with equal sets share one system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PackageSet {
    /// The packages by name, each with its pinned version if it has one.
    packages: BTreeMap<String, Option<String>>,
}

impl PackageSet {
    /// Combines what is requested for one system; the error about two versions of a package names the system as
    /// `whose`.
    pub(super) fn of<'a>(
        whose: &str,
        wanted: impl IntoIterator<Item = &'a WantedPackage>,
    ) -> Result<Self, SiteError> {
        let mut chosen: BTreeMap<String, &WantedPackage> = BTreeMap::new();
        for package in wanted {
            let Some(known) = chosen.get(&package.name) else {
                chosen.insert(package.name.clone(), package);
                continue;
            };
            match (&known.version, &package.version) {
                // A request without a version is met by a pinned version, too.
                (None, Some(_)) => drop(chosen.insert(package.name.clone(), package)),
                (Some(one), Some(other)) if one != other => {
                    return Err(SiteError::TwoVersions {
                        whose: whose.to_owned(),
                        package: Box::new(package.clone()),
                        other: Box::new((*known).clone()),
                    });
                }
                _ => {}
            }
        }
        let packages = chosen.into_iter().map(|(name, package)| (name, package.version.clone()));
        Ok(Self { packages: packages.collect() })
    }

    /// Names and pinned versions, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.packages.iter().map(|(name, version)| (name.as_str(), version.as_deref()))
    }

    /// The pinned version of a package, if there is one.
    #[must_use]
    pub fn pin(&self, name: &str) -> Option<&str> {
        self.packages.get(name)?.as_deref()
    }

    /// The packages as they are typed, sorted by name.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.iter().map(|(name, version)| word(name, version)).collect()
    }

    /// The packages in this set that are not in the other, as they are typed.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let new = self.iter().filter(|(name, version)| {
            other.packages.get(*name).is_none_or(|known| known.as_deref() != *version)
        });
        new.map(|(name, version)| word(name, version)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Location;

    fn wanted(text: &str, line: usize) -> WantedPackage {
        let (name, version) =
            text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
        let at = Location { path: "x.toml".into(), line, column: 1 };
        WantedPackage { name: name.into(), version: version.map(str::to_owned), at }
    }

    fn set(words: &[&str]) -> PackageSet {
        let wanted: Vec<WantedPackage> = words.iter().map(|word| wanted(word, 1)).collect();
        PackageSet::of("node a", &wanted).unwrap()
    }

    #[test]
    fn names_and_versions_are_debians() {
        for good in ["jq", "g++", "libstdc++6", "7zip", "python3.11"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a", "Curl", "curl-", "+x", "-y", "a b", "a/b", "a:amd64", "a*", "?essential", "a_b"]
        {
            assert!(!is_name(bad), "{bad}");
        }
        for good in ["1", "1:9.2p1-2+deb12u10", "5.4.1~rc1-0.1"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "x1", "1*", "1/2", "1 ", "~1", "1=2"] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn order_and_repetition_make_no_difference() {
        assert_eq!(set(&["jq", "tree"]), set(&["tree", "jq", "tree"]));
        assert_eq!(set(&["tree", "jq=1.6"]).words(), ["jq=1.6", "tree"]);
        assert_eq!(set(&["jq", "jq=1.6"]), set(&["jq=1.6"]));
        assert_eq!(set(&["jq=1.6", "jq"]).pin("jq"), Some("1.6"));
        assert_eq!(set(&["jq"]).pin("jq"), None);
    }

    #[test]
    fn a_pin_differs_from_the_plain_name() {
        let (plain, pinned) = (set(&["jq", "tree"]), set(&["jq=1.6", "tree"]));
        assert_eq!(pinned.beyond(&plain), ["jq=1.6"]);
        assert_eq!(plain.beyond(&plain), [""; 0]);
    }

    #[test]
    fn two_versions_of_one_package_name_both_places() {
        let wanted = [wanted("jq=1.6", 3), wanted("jq", 4), wanted("jq=1.7", 5)];
        let error = PackageSet::of("node pi1", &wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.toml:5:1: node pi1 would get both jq=1.7 and jq=1.6, which x.toml:3:1 lists; list one version only"
        );
    }
}
