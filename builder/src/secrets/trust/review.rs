//! Looking at the three sets of a site's keys: accepted, wished (`site.toml`) and signed (`trust.toml`).

use super::differences::{Difference, Origin, between};
use super::error::TrustError;
use super::key_set::KeySet;
use super::{Accepted, TRUST_FILE, TRUST_SIGNATURE, place};
use crate::secrets::credentials::{Locations, OwnPublicKeys};
use crate::site::Site;
use keys::signature::{self, PublicKey};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes: a thousand keys.
const LARGEST: u64 = 1 << 20;

/// The state of `trust.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// The site has none, as sites of older versions.
    Missing,
    /// Its signature does not count, or it cannot be read.
    Bad(String),
    /// Signed by one of the keys that count.
    By(PublicKey, KeySet),
}

/// All that is known of a site's keys.
#[derive(Debug, Clone)]
pub struct Review {
    /// What was accepted on this workstation.
    pub accepted: Option<Accepted>,
    /// What `site.toml` says.
    pub wish: KeySet,
    /// What `trust.toml` says.
    pub signed: Signed,
    /// In what the site differs from what was accepted; without that, in what its two files differ.
    pub differences: Vec<Difference>,
    file: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
}

/// Compares what the site says with what was accepted.
pub fn review(site: &Site, at: &Locations) -> Result<Review, TrustError> {
    let accepted = place::find(&site.id, at)?.map(|(folder, keys)| Accepted {
        former_signers: keys.former_signers.clone(),
        keys,
        folder,
        is_first_use: false,
    });
    let mut review = Review {
        accepted,
        wish: KeySet::wished(site)?,
        signed: Signed::Missing,
        differences: Vec::new(),
        file: read(&site.dir.join(TRUST_FILE))?,
        signature: read(&site.dir.join(TRUST_SIGNATURE))?,
    };
    review.compare();
    Ok(review)
}

impl Review {
    /// Goes on with keys of which nothing was accepted before.
    pub(super) fn accept_first(&mut self, folder: PathBuf, keys: KeySet) {
        self.accepted = Some(Accepted { keys, former_signers: Vec::new(), folder, is_first_use: true });
        self.compare();
    }

    /// The keys to compare with: what was accepted, or else what `site.toml` says.
    fn measure(&self) -> &KeySet {
        self.accepted.as_ref().map_or(&self.wish, |accepted| &accepted.keys)
    }

    fn compare(&mut self) {
        self.signed = self.judge();
        let measure = self.measure();
        let mut differences = between(measure, &self.wish, Origin::Site);
        match &self.signed {
            Signed::Missing => {}
            Signed::Bad(problem) => differences.push(Difference::NotSigned { problem: problem.clone() }),
            Signed::By(_, keys) => differences.extend(between(measure, keys, Origin::Signed)),
        }
        self.differences = differences;
    }

    fn judge(&self) -> Signed {
        let Some(file) = &self.file else { return Signed::Missing };
        let signature = self.signature.as_deref().map(std::str::from_utf8);
        let Some(Ok(signature)) = signature else {
            return Signed::Bad("it has no signature (trust.toml.minisig)".into());
        };
        match signature::verify(file, signature, &self.measure().signers) {
            Err(problem) => Signed::Bad(problem.to_string()),
            Ok(key) => match KeySet::parse(Path::new(TRUST_FILE), file) {
                Ok(keys) => Signed::By(key.clone(), keys),
                Err(problem) => Signed::Bad(problem.to_string()),
            },
        }
    }

    /// The differences that the user could accept, where the first acceptance begins with the workstation's `own` keys.
    #[must_use]
    pub fn open_for(&self, own: &OwnPublicKeys) -> Vec<Difference> {
        match &self.accepted {
            Some(_) => self.differences.clone(),
            None => between(&self.wish.only(own), &self.wish, Origin::Site),
        }
    }

    /// Every difference is an error.
    pub(super) fn check(&self, site: &Site) -> Result<(), TrustError> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let (site, dir, differences) = (site.id.clone(), site.dir.clone(), self.differences.clone());
        let is_first_use = self.accepted.as_ref().is_some_and(|accepted| accepted.is_first_use);
        Err(if is_first_use {
            TrustError::NotOwn { site, dir, differences }
        } else {
            TrustError::Differs { site, dir, differences }
        })
    }

    /// What was accepted, with the former signers that an accepted key vouches for.
    pub(super) fn into_accepted(self) -> Option<Accepted> {
        let mut accepted = self.accepted?;
        if let Signed::By(_, keys) = self.signed {
            accepted.former_signers.extend(keys.former_signers);
        }
        Some(accepted)
    }
}

/// Reads a file of the site, which may not be there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    // A link could lead out of the site, and opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        let problem = format!("it has more than {LARGEST} bytes");
        return Err(TrustError::BadFile { path: path.to_owned(), problem });
    }
    Ok(Some(bytes))
}
