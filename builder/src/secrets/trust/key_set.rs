//! A site's keys as a set, and in the TOML form of both `trust.toml` and the file beside the private keys.

use super::error::TrustError;
use crate::secrets::own_keys::OwnPublicKeys;
use crate::site::Site;
use handoff::name::Name;
use keys::identity::Recipient;
use keys::signature::PublicKey;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The version of the format that this program writes and reads.
const FORMAT: u32 = 1;

/// The admins and signing keys of a site. The order of keys has no meaning.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// The id of the site.
    pub site: Name,
    /// The admins, to whom everything of the site is encrypted.
    pub admins: Vec<Recipient>,
    /// The keys whose signatures count.
    pub signers: Vec<PublicKey>,
    /// Keys that were signers once. Their signatures no longer count, except for the generation of a stored seal.
    pub former_signers: Vec<PublicKey>,
}

/// The file as it is parsed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawKeySet {
    format: u32,
    site: String,
    admins: Vec<String>,
    signing_keys: Vec<String>,
    #[serde(default)]
    former_signing_keys: Vec<String>,
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let within = |one: &Self, two: &Self| {
            one.admins.iter().all(|key| two.admins.contains(key))
                && one.signers.iter().all(|key| two.signers.contains(key))
        };
        self.site == other.site && within(self, other) && within(other, self)
    }
}

impl Eq for KeySet {}

impl KeySet {
    /// The keys in `site.toml`.
    pub fn of_site(site: &Site) -> Result<Self, TrustError> {
        let admins = site.admin_recipients.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let signers = site.signing_keys.clone();
        Ok(Self { site: site.id.clone(), admins: admins?, signers, former_signers: Vec::new() })
    }

    /// Only those keys that are this workstation's own.
    #[must_use]
    pub(super) fn only(&self, own: &OwnPublicKeys) -> Self {
        Self {
            site: self.site.clone(),
            admins: self.admins.iter().filter(|key| Some(*key) == own.identity.as_ref()).cloned().collect(),
            signers: self.signers.iter().filter(|key| Some(*key) == own.signing.as_ref()).cloned().collect(),
            former_signers: Vec::new(),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> Result<String, TrustError> {
        let texts = |keys: &[PublicKey]| keys.iter().map(|key| key.as_str().to_owned()).collect();
        let raw = RawKeySet {
            format: FORMAT,
            site: self.site.to_string(),
            admins: self.admins.iter().map(ToString::to_string).collect(),
            signing_keys: texts(&self.signers),
            former_signing_keys: texts(&self.former_signers),
        };
        let body = toml::to_string_pretty(&raw).map_err(TrustError::Encode)?;
        Ok(format!(
            "# The keys that count for this site. Written by psyops trust accept; not to be edited.\n{body}"
        ))
    }

    /// Parses the file; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, TrustError> {
        let bad = |problem: String| TrustError::BadFile { path: path.to_owned(), problem };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text".into()))?;
        let raw: RawKeySet = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
        if raw.format != FORMAT {
            return Err(bad(format!("it has format {}; this program reads format {FORMAT}", raw.format)));
        }
        let keys = |texts: &[String]| {
            texts.iter().map(|text| text.parse::<PublicKey>()).collect::<Result<Vec<_>, _>>()
        };
        let admins = raw.admins.iter().map(|text| text.parse::<Recipient>()).collect::<Result<_, _>>();
        Ok(Self {
            site: raw.site.parse().map_err(|problem| bad(format!("site: {problem}")))?,
            admins: admins.map_err(|problem| bad(problem.to_string()))?,
            signers: keys(&raw.signing_keys).map_err(|problem| bad(problem.to_string()))?,
            former_signers: keys(&raw.former_signing_keys).map_err(|problem| bad(problem.to_string()))?,
        })
    }
}
