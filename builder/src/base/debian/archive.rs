//! The archive that mmdebstrap installs from: a folder with the locked packages and an index, made for one build.
//!
//! apt verifies it as it verifies Debian's: `InRelease` is signed by a key that is made here and then discarded,
//! `InRelease` has the digest of `Packages`, and `Packages` that of each package. So apt does not install anything that
//! came into the folder in another way, nor a file that changed since it was copied. The key is not in the root: an
//! option of the source names it for apt, and is removed afterwards.

use crate::atomic;
use crate::base::locked_package::{LockedPackage, Part};
use crate::base::openpgp::ThrowawayKey;
use crate::base::sandbox::ARCHIVE;
use crate::base::vouch::VouchedLock;
use crate::base::{BaseError, debs};
use crate::site::rfc3339;
use crate::store::{Store, StoreError};
use crate::width::to_usize;
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The file with the public key, in the archive's folder.
pub(super) const KEYRING: &str = "key.gpg";
/// The time of the signature: 2023-11-14, before all versions of this program. apt refuses a signature from the future,
/// and programs in the sandbox may see the build time or the time of this machine.
const SIGNED_AT: u64 = 1_700_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The archive's line in sources.list(5): a flat archive, verified with its own key only.
pub(super) fn source() -> String {
    format!("deb [signed-by={ARCHIVE}/{KEYRING}] copy:{ARCHIVE} ./")
}

/// Puts the base's packages, the signed index and the key into `folder`.
pub(super) fn fill(
    lock: &VouchedLock,
    store: &Store,
    build_time: u64,
    folder: &Path,
) -> Result<(), BaseError> {
    let mut index = String::new();
    for package in lock.vouched_packages(Part::Base) {
        let name = format!("{}.deb", package.sha256);
        let place = folder.join(&name);
        fs::copy(store.deb(&package.sha256), &place)
            .and_then(|_| fs::set_permissions(&place, Permissions::from_mode(0o644)))
            .map_err(|source| StoreError { path: place.clone(), source })?;
        index.push_str(&stanza(&debs::control(store, package)?, &package, &name));
    }
    let signed_at = build_time.min(SIGNED_AT);
    let keyring = folder.join(KEYRING);
    let key =
        ThrowawayKey::generate(signed_at).map_err(|source| StoreError { path: keyring.clone(), source })?;
    let release = release(&index, signed_at, lock.request.architecture);
    for (place, content) in [
        (folder.join("Packages"), index.as_bytes()),
        (folder.join("InRelease"), key.sign(&release).as_bytes()),
        (keyring, &key.keyring()),
    ] {
        atomic::write_file_with_mode(&place, content, 0o644)?;
    }
    Ok(())
}

fn stanza(control: &str, package: &LockedPackage, file: &str) -> String {
    format!("{control}\nFilename: ./{file}\nSize: {}\nSHA256: {}\n\n", package.size, package.sha256)
}

/// The text of `Release` (Debian wiki, `RepositoryFormat`). It has no `Valid-Until`: a lock remains buildable.
fn release(index: &str, time: u64, architecture: &Architecture) -> String {
    let digest = Sha256Digest::of(index.as_bytes());
    format!(
        "Origin: psyopsOS\nLabel: packages of site.lock\nDate: {}\nArchitectures: {}\nSHA256:\n {digest} {} Packages\n",
        date(time),
        architecture.debian,
        index.len()
    )
}

/// A date as in `Release`: RFC 1123, in UTC.
fn date(time: u64) -> String {
    let weekday = to_usize(time / SECONDS_PER_DAY % 7);
    let text = rfc3339(time);
    let (date, clock) = text.split_once('T').unwrap_or((&text, "00:00:00Z"));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).and_then(|month| month.checked_sub(1));
    let month = month.and_then(|month| MONTHS.get(month)).copied().unwrap_or("Jan");
    format!(
        "{}, {} {month} {} {} UTC",
        WEEKDAYS[weekday],
        day.unwrap_or("01"),
        year.unwrap_or("1970"),
        clock.trim_end_matches('Z')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_releases() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 UTC");
        assert_eq!(date(SIGNED_AT), "Tue, 14 Nov 2023 22:13:20 UTC");
        assert_eq!(date(951_827_696), "Tue, 29 Feb 2000 12:34:56 UTC");
    }

    #[test]
    fn the_release_names_the_index_by_size_and_digest() {
        let said = release("Package: x\n", 0, &handoff::architecture::X86_64);
        let digest = Sha256Digest::of(b"Package: x\n");
        assert!(said.ends_with(&format!("\nSHA256:\n {digest} 11 Packages\n")), "{said}");
        assert!(!said.contains("Valid-Until"));
    }
}
