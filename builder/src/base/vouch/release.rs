//! The entries for `Packages` in an archive's `Release` file (Debian wiki, `RepositoryFormat`).

use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;

/// The most bytes that a list of packages may have; Debian's has 50 MB.
const MOST_PACKAGES: u64 = 512 << 20;

/// The size of `Packages` in bytes, if a verified `Release` lists it with this digest.
///
/// Only the section `SHA256` counts. Lists of other components, of sources or of the installer's packages are not
/// accepted, so another signed file cannot be read as a list of packages.
pub(super) fn size_of_packages(release: &str, packages: &Sha256Digest) -> Option<u64> {
    let section = release.lines().skip_while(|line| *line != "SHA256:").skip(1);
    let entries = section.take_while(|line| line.starts_with(' '));
    let sizes = entries.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (digest, size, path) = (words.next()?, words.next()?, words.next()?);
        let is_it =
            is_package_list(path) && digest.parse().is_ok_and(|digest: Sha256Digest| digest == *packages);
        is_it.then(|| size.parse().ok()).flatten()
    });
    sizes.filter(|size| *size <= MOST_PACKAGES).last()
}

/// Whether this is a list of packages that a lock can be made from: component main, for an architecture of nodes.
fn is_package_list(path: &str) -> bool {
    let architecture = path.strip_prefix("main/binary-").and_then(|rest| rest.strip_suffix("/Packages"));
    architecture.is_some_and(|name| Architecture::ALL.iter().any(|row| row.debian == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_packages_of_main_for_a_known_architecture_count() {
        const PACKAGES: &str = "main/binary-amd64/Packages";
        let (list, other) = (Sha256Digest::of(b"list"), Sha256Digest::of(b"other"));
        let release = format!(
            "Origin: x\nMD5Sum:\n {list} 5 {PACKAGES}\nSHA256:\n {other} 7 main/source/Sources\n {other} 7 main/binary-hurd-i386/Packages\n \
             {list} 9 {PACKAGES}\n {list} 8 {PACKAGES}.xz\nSHA512:\n {other} 9 {PACKAGES}\n"
        );
        assert_eq!(size_of_packages(&release, &list), Some(9));
        assert_eq!(size_of_packages(&release, &other), None);
        let large = release.replace(&format!("{list} 9 "), &format!("{list} 536870913 "));
        assert_eq!(size_of_packages(&large, &list), None);
        assert_eq!(size_of_packages("", &list), None);
    }
}
