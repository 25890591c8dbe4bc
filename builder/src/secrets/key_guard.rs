//! The last guard before something leaves the workstation: no file that goes into a root or a seal may hold a private key
//! of the site.
//!
//! Private keys are found by what they are, so that those which are not open now are found, too: an age identity or a
//! signing key is read and its public half compared with the site's, an SSH host key is recognised by the public half
//! that it contains. Of the two keys that are open in a run, the bare bytes are looked for as well, also as base64 and in
//! hexadecimal. A private key in plain text that is none of the site's is refused in files of the site; among its encrypted
//! values it is a secret like others.
//!
//! Files are read in pieces of bounded size. Looked through are the site's own files (roles, overlays, `source`) and all
//! that a seal is made of. Not looked through are packages and given bases, which come from elsewhere by digest, and what
//! the builder brings: no path in a site leads from them to a key.

use crate::error::{Class, Classified};
use crate::secrets::credentials::Credentials;
use crate::secrets::store::Store;
use crate::site::{Kind, Site, SiteFolder};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use keys::timestamp::Timestamp;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How much of a file is looked through at once.
const PIECE: usize = 1 << 18;
/// No key is longer, so none is missed between two pieces.
const OVERLAP: usize = 1 << 14;
/// How an age identity begins, and its length (age-encryption.org/v1, Bech32 of 32 bytes).
const AGE: &[u8] = b"AGE-SECRET-KEY-1";
const AGE_LENGTH: usize = 74;
/// How minisign's secret keys begin in base64, without and with a passphrase, and their length.
const MINISIGN: [&[u8]; 2] = [b"RWQAAEIy", b"RWRTY0Iy"];
const MINISIGN_LENGTH: usize = 212;
/// Where the secret half stands in a minisign key.
const MINISIGN_SEED: std::ops::Range<usize> = 62..94;
/// Around an OpenSSH private key.
const OPENSSH: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
const OPENSSH_END: &[u8] = b"-----END";
/// The characters of Bech32 by their values (BIP 173).
const BECH32: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A plain file of the site, where no private key belongs.
    Plain,
    /// A value that the site keeps encrypted.
    Secret,
}

/// What is looked for. Public halves are read from the site only when something is found to compare with them: a guard is
/// made for each of a thousand nodes.
pub struct KeyGuard<'s> {
    site: &'s Site,
    /// The bare bytes of keys that are open, in several forms.
    bytes: Vec<(Zeroizing<Vec<u8>>, String)>,
}

/// A file that must not leave the workstation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} holds {key}: it is not put into an image")]
pub struct KeyInFile {
    /// The file.
    pub path: PathBuf,
    /// Which key.
    pub key: String,
}

impl Classified for KeyInFile {
    fn class(&self) -> Class {
        Class::Refused
    }

    fn advice(&self) -> Option<String> {
        Some("remove the key from there; what a node needs is given to it with: psyops secret set".into())
    }
}

/// Why files were not looked through, or not let through.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// A key is in one.
    #[error(transparent)]
    Key(#[from] KeyInFile),
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Classified for GuardError {
    fn class(&self) -> Class {
        match self {
            Self::Key(error) => error.class(),
            Self::Read { source, .. } => Class::of_reading(source),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Key(error) => error.advice(),
            Self::Read { .. } => None,
        }
    }
}

impl<'s> KeyGuard<'s> {
    /// Looks for the keys of a site, and for those that are open now.
    #[must_use]
    pub fn new(site: &'s Site, credentials: &Credentials) -> Self {
        let mut guard = Self { site, bytes: Vec::new() };
        let text = identity_file::text(&credentials.identity, Timestamp::from_unix(0));
        if let Some(bytes) = text.lines().find_map(age_bytes) {
            guard.add_bytes(&bytes, &format!("the key of the admin {}", credentials.identity.recipient()));
        }
        if let Some(bytes) = signing_bytes(&credentials.signing) {
            guard.add_bytes(&bytes, &format!("the signing key {}", credentials.signing.public().as_str()));
        }
        guard
    }

    fn add_bytes(&mut self, bytes: &[u8], key: &str) {
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Without the padding, whose place depends on what follows.
        let base64 = BASE64_STANDARD.encode(bytes).trim_end_matches('=').to_owned();
        for form in [bytes.to_vec(), hexadecimal.to_uppercase().into_bytes(), hexadecimal.into_bytes()] {
            self.bytes.push((form.into(), key.to_owned()));
        }
        // The last character holds bits of what follows.
        let length = base64.len().saturating_sub(1);
        self.bytes
            .push((base64.as_bytes().get(..length).unwrap_or_default().to_vec().into(), key.to_owned()));
    }

    /// Looks through the roles and overlays of the site.
    pub fn check_layers(&self) -> Result<(), GuardError> {
        let roles = self.site.roles.values().map(|role| &role.dir);
        let overlays = self.site.overlays.iter().map(|overlay| &overlay.dir);
        roles.chain(overlays).try_for_each(|folder| self.check_folder(folder))
    }

    fn check_folder(&self, folder: &SiteFolder) -> Result<(), GuardError> {
        let read = |path: &Path| {
            let path = folder.path_of(path);
            move |source| GuardError::Read { path, source }
        };
        let data = folder.data().map_err(read(Path::new("")))?;
        let mut todo = vec![PathBuf::new()];
        while let Some(here) = todo.pop() {
            for entry in data.entries(&here).map_err(read(&here))? {
                let path = here.join(&entry.name);
                match entry.kind {
                    Kind::Folder => todo.push(path),
                    Kind::File => {
                        let file = data.file(&path).map_err(read(&path))?;
                        self.check(file, &folder.path_of(&path), Origin::Plain)?;
                    }
                    // Others are refused where the tree is made.
                    Kind::Link | Kind::Other(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Looks through one file.
    pub fn check(&self, file: impl Read, path: &Path, origin: Origin) -> Result<(), GuardError> {
        match self.find(file, origin) {
            Ok(None) => Ok(()),
            Ok(Some(key)) => Err(KeyInFile { path: path.to_owned(), key }.into()),
            Err(source) => Err(GuardError::Read { path: path.to_owned(), source }),
        }
    }

    /// The first key in a file.
    fn find(&self, mut file: impl Read, origin: Origin) -> io::Result<Option<String>> {
        let starts = self.starts();
        let mut window = Zeroizing::new(Vec::with_capacity(PIECE + OVERLAP));
        loop {
            let kept = window.len();
            file.by_ref().take((PIECE + OVERLAP - kept) as u64).read_to_end(&mut window)?;
            let last = window.len() < PIECE + OVERLAP;
            if let Some(key) = self.find_in(&window, &starts, origin) {
                return Ok(Some(key));
            }
            if last {
                return Ok(None);
            }
            window.drain(..PIECE);
        }
    }

    /// The first two bytes of all that is looked for.
    fn starts(&self) -> Vec<bool> {
        let mut starts = vec![false; 1 << 16];
        let known = [AGE, MINISIGN[0], MINISIGN[1], OPENSSH];
        for bytes in known.into_iter().chain(self.bytes.iter().map(|(bytes, _)| bytes.as_slice())) {
            if let [first, second, ..] = bytes {
                starts[usize::from(u16::from_be_bytes([*first, *second]))] = true;
            }
        }
        starts
    }

    fn find_in(&self, window: &[u8], starts: &[bool], origin: Origin) -> Option<String> {
        let places = window.windows(2).enumerate();
        let places = places.filter(|(_, pair)| starts[usize::from(u16::from_be_bytes([pair[0], pair[1]]))]);
        places.into_iter().find_map(|(place, _)| self.at(&window[place..], origin))
    }

    /// The key with which these bytes begin.
    fn at(&self, bytes: &[u8], origin: Origin) -> Option<String> {
        if let Some((_, key)) = self.bytes.iter().find(|(form, _)| bytes.starts_with(form)) {
            return Some(key.clone());
        }
        let other = |what: &str| (origin == Origin::Plain).then(|| what.to_owned());
        if bytes.starts_with(AGE) {
            let identity = NodeIdentity::parse(bytes.get(..AGE_LENGTH)?).ok()?;
            let known = self.owner(&identity.recipient().to_string());
            return known.or_else(|| other("an age identity"));
        }
        if MINISIGN.iter().any(|start| bytes.starts_with(start)) {
            let line = std::str::from_utf8(bytes.get(..MINISIGN_LENGTH)?).ok()?;
            BASE64_STANDARD.decode(line).ok()?;
            let file = Zeroizing::new(format!("untrusted comment:\n{line}\n"));
            let public = SigningKey::parse(file.as_bytes()).ok().map(|key| key.public().as_str().to_owned());
            let known = public.filter(|public| self.site.signing_keys.contains(public));
            let known = known.map(|public| format!("the signing key {public}"));
            return known.or_else(|| other("a minisign secret key"));
        }
        if bytes.starts_with(OPENSSH) {
            let body = bytes.get(OPENSSH.len()..bytes.len().min(OVERLAP))?;
            let end = body.windows(OPENSSH_END.len()).position(|part| part == OPENSSH_END)?;
            let text: Vec<u8> =
                body.get(..end)?.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let content = Zeroizing::new(BASE64_STANDARD.decode(Zeroizing::new(text)).ok()?);
            return self.host(&content);
        }
        None
    }

    /// Whose public age key it is.
    fn owner(&self, recipient: &str) -> Option<String> {
        if self.site.admin_recipients.iter().any(|admin| admin == recipient) {
            return Some(format!("the key of the admin {recipient}"));
        }
        let node = self.site.nodes().find(|node| node.recipient.as_deref() == Some(recipient));
        node.map(|node| format!("the key of node {}", node.name))
    }

    /// Whose SSH host key it is.
    fn host(&self, content: &[u8]) -> Option<String> {
        // A node whose public key cannot be read has none that could be compared.
        let store = Store::without_admins(self.site);
        let node = self.site.nodes().find(|node| {
            let public = store.read_host_key_public(&node.name).ok().flatten();
            let key = public.as_deref().and_then(public_bytes);
            key.is_some_and(|key| content.windows(key.len()).any(|part| part == key))
        });
        node.map(|node| format!("the SSH host key of node {}", node.name))
    }
}

/// The key in a line of an OpenSSH public key, in the form in which private keys have it, too.
fn public_bytes(line: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(line.split_whitespace().nth(1)?).ok().filter(|bytes| bytes.len() >= 32)
}

/// The bytes of an age identity, without the checksum.
fn age_bytes(line: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = line.strip_prefix("AGE-SECRET-KEY-1")?.to_ascii_lowercase();
    let digits = text.as_bytes().get(..text.len().checked_sub(6)?)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let (mut value, mut bits) = (0_u32, 0);
    for digit in digits {
        let five = u32::try_from(BECH32.iter().position(|known| known == digit)?).ok()?;
        value = (value << 5 | five) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(value >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn signing_bytes(key: &SigningKey) -> Option<Zeroizing<Vec<u8>>> {
    let text = key.text().ok()?;
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.lines().nth(1)?).ok()?);
    bytes.get(MINISIGN_SEED).map(|seed| Zeroizing::new(seed.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{GeneratedKeys, InitOptions, init_site};
    use keys::issue::host_key::HostKey;
    use std::fs;
    use tempfile::TempDir;

    struct World {
        folder: TempDir,
        site: Site,
        credentials: Credentials,
        node: NodeIdentity,
        host: HostKey,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (identity, signing) = (identity_file::generate(), SigningKey::generate().unwrap());
            let keys = GeneratedKeys {
                admin_recipient: identity.recipient().to_string(),
                signing_public: signing.public().as_str().to_owned(),
            };
            let options = InitOptions { build_time: 1_793_491_200, open_consoles: false };
            let name = |text: &str| text.parse().unwrap();
            let site = init_site(folder.path(), &name("lab"), &name("n1"), &keys, &options).unwrap();
            let (node, host) = (identity_file::generate(), HostKey::generate("root@n1").unwrap());
            let site = crate::site::set_recipient(site, &name("n1"), &node.recipient().to_string()).unwrap();
            let store = Store::without_admins(&site);
            store.write_host_key_public(&name("n1"), &host.public_line().unwrap()).unwrap();
            Self { folder, site, credentials: Credentials { identity, signing }, node, host }
        }

        fn guard(&self) -> KeyGuard<'_> {
            KeyGuard::new(&self.site, &self.credentials)
        }
    }

    fn text(identity: &NodeIdentity) -> Vec<u8> {
        identity_file::text(identity, Timestamp::from_unix(0)).as_bytes().to_vec()
    }

    #[test]
    fn keys_of_the_site_are_found_in_whatever_form_and_place() {
        let world = World::new();
        let guard = world.guard();
        let admin = format!("the key of the admin {}", world.credentials.identity.recipient());
        let signing = format!("the signing key {}", world.credentials.signing.public().as_str());
        let seed = signing_bytes(&world.credentials.signing).unwrap();
        let bare = text(&world.credentials.identity);
        let bare = std::str::from_utf8(&bare).unwrap().lines().find_map(age_bytes).unwrap();
        assert_eq!((seed.len(), bare.len()), (32, 32));
        let hexadecimal: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let host = world.host.private_text().unwrap().as_bytes().to_vec();
        for (content, expected) in [
            (text(&world.credentials.identity), admin.as_str()),
            (text(&world.node), "the key of node n1"),
            (world.credentials.signing.text().unwrap().as_bytes().to_vec(), &signing),
            (host, "the SSH host key of node n1"),
            (bare.to_vec(), &admin),
            (seed.to_vec(), &signing),
            (hexadecimal.into_bytes(), &signing),
            (BASE64_STANDARD.encode(&*seed).into_bytes(), &signing),
        ] {
            for before in [0, 1, PIECE - 40, PIECE + OVERLAP - 1, 3 * PIECE - 7] {
                let file = [vec![b'x'; before], content.clone(), vec![b'\n'; 5]].concat();
                for origin in [Origin::Plain, Origin::Secret] {
                    assert_eq!(guard.find(file.as_slice(), origin).unwrap().as_deref(), Some(expected));
                }
            }
        }
    }

    #[test]
    fn other_keys_are_secrets_like_others_but_not_in_plain_files() {
        let world = World::new();
        let guard = world.guard();
        let foreign = text(&identity_file::generate());
        assert_eq!(
            guard.find(foreign.as_slice(), Origin::Plain).unwrap().as_deref(),
            Some("an age identity")
        );
        assert_eq!(guard.find(foreign.as_slice(), Origin::Secret).unwrap(), None);
        let foreign = SigningKey::generate().unwrap().text().unwrap();
        let found = guard.find(foreign.as_bytes(), Origin::Plain).unwrap();
        assert_eq!(found.as_deref(), Some("a minisign secret key"));
        let host = HostKey::generate("x").unwrap().private_text().unwrap();
        assert_eq!(guard.find(host.as_bytes(), Origin::Plain).unwrap(), None);
        let harmless = b"AGE-SECRET-KEY-1 RWQAAEIy -----BEGIN OPENSSH PRIVATE KEY----- age1";
        assert_eq!(guard.find(harmless.as_slice(), Origin::Plain).unwrap(), None);
    }

    #[test]
    fn a_key_in_a_role_or_overlay_is_named() {
        let world = World::new();
        world.guard().check_layers().unwrap();
        for place in ["roles/example/files/backup", "overlays/common/etc/backup"] {
            let path = world.folder.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text(&world.node)).unwrap();
            let error = world.guard().check_layers().unwrap_err();
            let expected =
                format!("{} holds the key of node n1: it is not put into an image", path.display());
            assert_eq!((error.to_string(), error.class()), (expected, Class::Refused));
            fs::remove_file(path).unwrap();
        }
    }
}
