//! The two private keys of a person who runs a site: an admin's age identity and the signing key.
//!
//! They are stored in `$XDG_CONFIG_HOME/psyops/SITE_ID/` or where an option points, never in the site. Code that loads
//! one also gets the site with the keys that were accepted, so that nothing is encrypted or signed for others.

use crate::error::{Class, Classified};
use crate::secrets::key_error::KeyError;
use crate::secrets::key_file::{self, ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE};
use crate::secrets::locations::place;
use crate::secrets::passphrase::Passphrases;
use crate::secrets::store::Store;
use crate::secrets::stored_seal::UntrustedSeal;
use crate::secrets::trust::{self, SiteAndKeys, TrustError};
use crate::site::Site;
use handoff::name::Name;
use keys::identity::{NodeIdentity, Recipient};
use keys::issue::signing::SigningKey;
use keys::signature::PublicKey;
use std::path::{Path, PathBuf};

pub use crate::secrets::locations::Locations;
pub use crate::secrets::own_keys::{OwnKeys, OwnPublicKeys};

/// Both private keys of a person who runs a site.
#[derive(Debug)]
pub struct Credentials {
    /// The age identity, which decrypts everything of the site.
    pub identity: NodeIdentity,
    /// The key that signs for the site.
    pub signing: SigningKey,
}

/// Why the private keys could not be used.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum CredentialError {
    /// A key file is missing or not valid, or could not be decrypted.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The identity is valid, but its public key is not an admin recipient of the site.
    #[error(
        "the identity in {path} has the public key {found}, which is not an admin recipient of the site {site}"
    )]
    NotAnAdmin {
        /// The id of the site.
        site: Name,
        /// The path of the identity.
        path: PathBuf,
        /// The public key of the identity.
        found: Recipient,
    },
    /// The signing key is valid, but is not a signing key of the site, so nodes do not accept its signatures.
    #[error("the signing key in {path} is {found}, which is not a signing key of the site {site}")]
    NotASigner {
        /// The id of the site.
        site: Name,
        /// The path of the signing key.
        path: PathBuf,
        /// The public key of the signing key.
        found: String,
    },
    /// The keys of the site are not the accepted ones.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Classified for CredentialError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Key(_) | Self::Trust(_) => return None,
            Self::NotAnAdmin { .. } | Self::NotASigner { .. } => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotAnAdmin { .. } => {
                Some("name the identity of an admin of this site with --identity FILE".into())
            }
            Self::NotASigner { .. } => Some("name a signing key of this site with --signing-key FILE".into()),
            Self::Key(_) | Self::Trust(_) => None,
        }
    }
}

impl Credentials {
    /// Reads both keys, and checks that they are the site's and that the site's keys are the accepted ones. Stored seals
    /// that cannot be read are an error, unless the user wants them replaced.
    pub fn load(
        site: Site,
        at: &Locations,
        untrusted: UntrustedSeal,
    ) -> Result<(SiteAndKeys, Self), CredentialError> {
        let keys = read_identity(&site, at).and_then(|identity| Ok((identity, read_signing_key(&site, at)?)));
        let (identity, signing) = keys.map_err(|error| rather_untrusted(&site, at, error))?;
        let own =
            OwnPublicKeys { identity: Some(identity.recipient()), signing: Some(signing.public().clone()) };
        Ok((
            trust::settle(site, at, untrusted, |_| Ok::<_, CredentialError>(own))?,
            Self { identity, signing },
        ))
    }
}

/// Reads the admin's identity, and checks that it is one of the site's and that the site's keys are the accepted ones.
pub fn load_identity(site: Site, at: &Locations) -> Result<(SiteAndKeys, NodeIdentity), CredentialError> {
    let identity = read_identity(&site, at).map_err(|error| rather_untrusted(&site, at, error))?;
    let place = place(&site, at.signing_key.as_deref(), SIGNING_KEY_FILE);
    let own = |is_first| {
        // The owner of the signing key is only needed at the first use.
        let signing = if is_first { if_there(open_signing_key_at(place?, at))? } else { None };
        Ok::<_, CredentialError>(OwnPublicKeys {
            identity: Some(identity.recipient()),
            signing: signing.map(|(_, key)| key.public().clone()),
        })
    };
    Ok((trust::settle(site, at, UntrustedSeal::Refuse, own)?, identity))
}

/// Reads the signing key, and checks that it is one of the site's and that the site's keys are the accepted ones.
pub fn load_signing_key(site: Site, at: &Locations) -> Result<(SiteAndKeys, SigningKey), CredentialError> {
    let signing = read_signing_key(&site, at).map_err(|error| rather_untrusted(&site, at, error))?;
    let place = place(&site, at.identity.as_deref(), ADMIN_IDENTITY_FILE);
    let own = |is_first| {
        let identity = if is_first { if_there(open_identity_at(place?, at))? } else { None };
        Ok::<_, CredentialError>(OwnPublicKeys {
            identity: identity.map(|(_, identity)| identity.recipient()),
            signing: Some(signing.public().clone()),
        })
    };
    Ok((trust::settle(site, at, UntrustedSeal::Refuse, own)?, signing))
}

/// If another person changed the site's keys or its id, the user's key files do not fit the site any more. Then the
/// user must see that change as the error, and not its consequence.
fn rather_untrusted(site: &Site, at: &Locations, error: CredentialError) -> CredentialError {
    let may_follow = match &error {
        CredentialError::Key(KeyError::File(file)) => file.is_missing(),
        CredentialError::NotAnAdmin { .. } | CredentialError::NotASigner { .. } => true,
        _ => false,
    };
    if !may_follow {
        return error;
    }
    match trust::check(site.clone(), at) {
        Err(changed @ (TrustError::Differs { .. } | TrustError::OtherSite { .. })) => changed.into(),
        _ => error,
    }
}

/// The private keys that exist on this workstation, whether the site names them or not.
pub fn own_keys(site: &Site, at: &Locations) -> Result<OwnKeys, CredentialError> {
    Ok(OwnKeys { identity: own_identity(site, at)?, signing: own_signing_key(site, at)? })
}

fn own_identity(site: &Site, at: &Locations) -> Result<Option<NodeIdentity>, CredentialError> {
    if_there(open_identity(site, at).map(|(_, key)| key))
}

fn own_signing_key(site: &Site, at: &Locations) -> Result<Option<SigningKey>, CredentialError> {
    if_there(open_signing_key(site, at).map(|(_, key)| key))
}

fn if_there<K>(loaded: Result<K, KeyError>) -> Result<Option<K>, CredentialError> {
    match loaded {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::File(error)) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_identity(site: &Site, at: &Locations) -> Result<(PathBuf, NodeIdentity), KeyError> {
    open_identity_at(place(site, at.identity.as_deref(), ADMIN_IDENTITY_FILE)?, at)
}

fn open_identity_at(path: PathBuf, at: &Locations) -> Result<(PathBuf, NodeIdentity), KeyError> {
    let key = key_file::open_identity(&path, &at.passphrases)?;
    Ok((path, key))
}

fn open_signing_key(site: &Site, at: &Locations) -> Result<(PathBuf, SigningKey), KeyError> {
    open_signing_key_at(place(site, at.signing_key.as_deref(), SIGNING_KEY_FILE)?, at)
}

fn open_signing_key_at(path: PathBuf, at: &Locations) -> Result<(PathBuf, SigningKey), KeyError> {
    let key = key_file::open_signing_key(&path, &at.passphrases)?;
    Ok((path, key))
}

fn read_identity(site: &Site, at: &Locations) -> Result<NodeIdentity, CredentialError> {
    let (path, identity) = open_identity(site, at)?;
    let found = identity.recipient();
    if site.admin_recipients.contains(&found.to_string()) {
        Ok(identity)
    } else {
        Err(CredentialError::NotAnAdmin { site: site.id.clone(), path, found })
    }
}

fn read_signing_key(site: &Site, at: &Locations) -> Result<SigningKey, CredentialError> {
    let (path, key) = open_signing_key(site, at)?;
    if site.signing_keys.contains(key.public()) {
        Ok(key)
    } else {
        let found = key.public().as_str().to_owned();
        Err(CredentialError::NotASigner { site: site.id.clone(), path, found })
    }
}

/// The admins of the site that the user of this workstation accepted. Everything of the site is encrypted only to them;
/// without an accepted set nothing can be encrypted.
pub fn admin_recipients(site: &SiteAndKeys) -> Result<Vec<Recipient>, CredentialError> {
    if let Some(accepted) = site.accepted() {
        return Ok(accepted.keys.admins.clone());
    }
    let site = trust::check(Site::clone(site), &Locations::default())?;
    match site.accepted() {
        Some(accepted) => Ok(accepted.keys.admins.clone()),
        None => Err(TrustError::NothingAccepted { site: site.id.clone() }.into()),
    }
}

/// The store of a site, for the admins whom the user of this workstation accepted.
pub fn secret_store(site: &SiteAndKeys) -> Result<Store, CredentialError> {
    Ok(Store::new(site.secrets_dir(), site.id.clone(), admin_recipients(site)?))
}

/// The keys whose signatures count for the site: those that the user of this workstation accepted. If nothing was
/// accepted, as in CI, those in the site itself; `trust.toml` must then have the same keys.
pub fn trusted_keys(site: &SiteAndKeys) -> Result<Vec<PublicKey>, CredentialError> {
    // Called for each seal: a site that has the accepted keys already is not copied.
    if let Some(accepted) = site.accepted() {
        return Ok(accepted.keys.signers.clone());
    }
    match with_accepted(Site::clone(site), &Locations::default())?.accepted() {
        Some(accepted) => Ok(accepted.keys.signers.clone()),
        None => Ok(trust::KeySet::of_site(site)?.signers),
    }
}

/// The site with the keys that were accepted on this workstation, if there are any, for verifying what other people
/// made.
pub fn with_accepted(site: Site, at: &Locations) -> Result<SiteAndKeys, CredentialError> {
    match trust::check(site.clone(), at) {
        // Without a folder there are no accepted keys.
        Err(TrustError::NoFolder(_)) => Ok(site.into()),
        other => Ok(other?),
    }
}

/// Accepts the keys of a new site, which was made with the keys below `config`, and writes them into it.
pub fn accept_new_site(
    site: Site,
    config: &Path,
    passphrases: &Passphrases,
) -> Result<SiteAndKeys, CredentialError> {
    let folder = config.join(site.id.as_str());
    let at = Locations {
        identity: Some(folder.join(ADMIN_IDENTITY_FILE)),
        signing_key: Some(folder.join(SIGNING_KEY_FILE)),
        passphrases: passphrases.clone(),
    };
    let (site, credentials) = Credentials::load(site, &at, UntrustedSeal::Refuse)?;
    if let Some(keys) = trust::unpublished(&site, &credentials.signing)? {
        keys.write(&site).map_err(TrustError::from)?;
    }
    Ok(site)
}
