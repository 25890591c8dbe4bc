//! `psyops lock update`: resolves the packages again, prints the changes, and writes and signs the lock if the user
//! agrees. A lock that does not change, but has no valid signature, is signed again in the same way.

use super::Which;
use super::changes::{count, to_json, to_text};
use super::consent::{Consent, NotWritten};
use crate::base::changes::Changes;
use crate::base::vouch::Trusted;
use crate::base::{BaseError, Lock, LockFile, present_lock, signing_key, take_lock};
use crate::cli::site::load_site;
use crate::error::Error;
use crate::next_command::psyops;
use crate::secrets::credentials::{CredentialError, Locations};
use crate::secrets::trust::SiteAndKeys;
use crate::site::Site;
use crate::store::Store;
use handoff::shown::Shown;
use keys::issue::signing::SigningKey;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The output of the command at its end, with or without a change.
struct Told<'a> {
    path: PathBuf,
    lock: &'a Lock,
    changes: &'a Changes,
    /// Why a build would not use the lock as it was.
    problem: Option<&'a str>,
    /// Why no signature counts, if the lock itself does not change.
    unsigned: Option<&'a str>,
    /// The bytes that must be fetched.
    fetch: u64,
    json: bool,
}

pub(super) fn run(
    which: &Which,
    keys: &Locations,
    consent: &Consent<'_>,
    progress: &dyn Fn(&str),
) -> Result<(String, Option<Error>), Error> {
    let site = SiteAndKeys::from(load_site(which.site.as_deref())?);
    let store = Store::from_environment()?;
    let old = present(&site, progress)?;
    let file = resolve(&site, &store, progress)?;
    Update { site: &site, store: &store, old: &old, json: which.json }.take(file, keys, consent, progress)
}

/// What a new lock is compared with.
struct Update<'a> {
    site: &'a SiteAndKeys,
    store: &'a Store,
    old: &'a Option<LockFile>,
    json: bool,
}

impl Update<'_> {
    /// Prints the changes of `file`, asks, and writes and signs it.
    fn take(
        &self,
        file: LockFile,
        keys: &Locations,
        consent: &Consent<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<(String, Option<Error>), Error> {
        let Self { site, store, old, json } = *self;
        let changes = Changes::between(old.as_ref().map(LockFile::lock), file.lock())?;
        let standing = old.as_ref().map(|old| Standing::of(old, site, store)).transpose()?;
        let Standing { problem, unsigned } = standing.unwrap_or_default();
        let lock = file.lock().clone();
        let told = Told {
            path: file.path().to_owned(),
            lock: &lock,
            changes: &changes,
            problem: problem.as_deref(),
            unsigned: unsigned.as_deref().filter(|_| !changes.any),
            fetch: bytes_to_fetch(&lock, store),
            json,
        };
        if !changes.any && told.unsigned.is_none() {
            return Ok((told.ending(site, &Written::not("unchanged")), None));
        }
        let nothing = Written::not("nothing was written");
        if consent.dry_run {
            return Ok((told.whole(site, &nothing), None));
        }
        let key = match signing_key(site, keys)? {
            // No archive lists a tar or an image: without a signature, no build would use the lock.
            Err(problem) if lock.imported.is_some() => return Err(problem.into()),
            // Without the key there is nothing to do.
            Err(missing) if told.lacks_only_a_signature() => {
                return Ok((
                    told.ending(site, &Written::not(&unsigned_because("unchanged", &missing))),
                    None,
                ));
            }
            key => key,
        };
        match told.agreed(site, consent, progress) {
            Ok(()) => {}
            Err(error @ NotWritten::NoTerminal { .. }) => {
                return Ok((told.whole(site, &nothing), Some(error.into())));
            }
            Err(error) => return Err(error.into()),
        }
        let written = self.write(file, &told, key.as_ref(), progress)?;
        Ok((told.ending(site, &written), None))
    }

    /// Writes the lock and its signature; or only the signature, if nothing else is missing.
    fn write(
        &self,
        mut file: LockFile,
        told: &Told<'_>,
        key: Result<&SigningKey, &CredentialError>,
        progress: &dyn Fn(&str),
    ) -> Result<Written, Error> {
        let Self { site, store, old, .. } = *self;
        // The answer may have taken a while.
        if LockFile::read_any(site)? != *old {
            return Err(NotWritten::Changed { path: told.path.clone() }.into());
        }
        // If only the signature is missing, the existing file is signed.
        if let (Some(mut old), true) = (old.clone(), told.lacks_only_a_signature()) {
            let written = sign(&mut old, site, key, "unchanged")?;
            old.write_signature()?;
            return Ok(written);
        }
        let _in_use = store.in_use()?;
        let written = sign(&mut file, site, key, "written")?;
        take_lock(site, &file, store, progress)?;
        Ok(written)
    }
}

/// Signs the lock if there is a key, and returns the result.
fn sign(
    file: &mut LockFile,
    site: &Site,
    key: Result<&SigningKey, &CredentialError>,
    what: &str,
) -> Result<Written, Error> {
    Ok(match key {
        Ok(key) => {
            file.sign(site, key).map_err(BaseError::from)?;
            let id = key.public().id().to_string();
            Written { ending: format!("{what} and signed by key {id}"), done: true, key: Some(id) }
        }
        Err(problem) => Written { ending: unsigned_because(what, problem), done: true, key: None },
    })
}

fn unsigned_because(what: &str, problem: &CredentialError) -> String {
    let sign = psyops("lock sign");
    format!("{what}, not signed: it is valid only with this store, until {sign} ({problem})")
}

/// Whether a build would use the lock as it is.
#[derive(Default)]
struct Standing {
    /// Why a build would not use it.
    problem: Option<String>,
    /// Why no signature counts.
    unsigned: Option<String>,
}

impl Standing {
    fn of(old: &LockFile, site: &SiteAndKeys, store: &Store) -> Result<Self, Error> {
        let vouching = old.vouching(&Trusted::of(site)?, store);
        let unsigned = vouching.signature.as_ref().err().map(ToString::to_string);
        let problem = vouching.into_result().err().map(|problem| problem.to_string());
        Ok(Self { problem, unsigned })
    }
}

fn resolve(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<LockFile, Error> {
    let _in_use = store.in_use()?;
    Ok(present_lock(site, store, progress)?)
}

/// The lock as it is. A lock for another request, or one that is not valid, counts as none: this command replaces it.
fn present(site: &Site, progress: &dyn Fn(&str)) -> Result<Option<LockFile>, Error> {
    match LockFile::read_any(site) {
        Err(error @ BaseError::BadLock { .. }) => {
            progress(&format!("{error}; every package counts as new"));
            Ok(None)
        }
        other => Ok(other?),
    }
}

fn bytes_to_fetch(lock: &Lock, store: &Store) -> u64 {
    let missing = lock.all().filter(|package| !store.deb(&package.sha256).is_file());
    // A package may be in several parts and sets.
    let sizes: BTreeMap<_, _> = missing.map(|package| (package.sha256, package.size)).collect();
    sizes.values().sum()
}

/// Which files were written.
struct Written {
    ending: String,
    done: bool,
    /// The key that signed the lock.
    key: Option<String>,
}

impl Written {
    fn not(ending: &str) -> Self {
        Self { ending: ending.to_owned(), done: false, key: None }
    }
}

impl Told<'_> {
    /// Whether a build on this machine would use the lock, which does not change.
    fn lacks_only_a_signature(&self) -> bool {
        self.unsigned.is_some() && self.problem.is_none()
    }

    /// Shows the changes and asks whether to write them. Nothing is asked with JSON output.
    fn agreed(&self, site: &Site, consent: &Consent<'_>, progress: &dyn Fn(&str)) -> Result<(), NotWritten> {
        let list = self.list(site);
        if consent.yes {
            // Printed before it is done: fetching may take a while, and the user may stop it.
            list.lines().for_each(progress);
            return Ok(());
        }
        let path = Shown(self.path.display());
        let question = match self.unsigned {
            Some(_) => format!("{list}\nSign {path} as it is?"),
            None => format!("{list}\nTake them into {path}?"),
        };
        consent.ask_for(&self.path, &question, self.json)
    }

    /// What changes, and why a build would not use the lock as it was; or, if only the signature is missing, what the
    /// signature would vouch for.
    fn list(&self, site: &Site) -> String {
        if let Some(unsigned) = self.unsigned {
            let problem = self.problem.unwrap_or("the archive's index in this store vouches for all of it");
            let packages = self.lock.all().count();
            let base = if self.lock.imported.is_some() { " and a base that no archive lists" } else { "" };
            return format!(
                "no package changes, but the lock has no valid signature: {unsigned}\n{problem}\na signature would vouch for its {packages} packages{base}"
            );
        }
        let problem = self.problem.map(|problem| format!("{problem}\n")).unwrap_or_default();
        format!("{problem}{}{}", to_text(self.changes, site), count(self.changes, self.fetch))
    }

    /// The changes and the last line.
    fn whole(&self, site: &Site, written: &Written) -> String {
        let ending = self.ending(site, written);
        if self.json { ending } else { format!("{}\n{ending}", self.list(site)) }
    }

    /// The last line; with JSON, the whole output.
    fn ending(&self, site: &Site, written: &Written) -> String {
        if self.json {
            let mut value = to_json(self.changes, site);
            value["lock"] = Value::from(self.path.display().to_string());
            value["packages"] = Value::from(self.lock.packages.len());
            value["fetch"] = Value::from(self.fetch);
            value["signature_problem"] = Value::from(self.unsigned);
            value["not_vouched"] = Value::from(self.problem);
            value["written"] = Value::from(written.done);
            value["signed_by"] = Value::from(written.key.clone());
            return format!("{value:#}");
        }
        let variants = match self.lock.variants.len() {
            0 => String::new(),
            1 => ", and those of one more set".to_owned(),
            more => format!(", and those of {more} more sets"),
        };
        format!(
            "{}: {} packages{variants}, {}",
            Shown(self.path.display()),
            self.lock.packages.len(),
            written.ending
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::lock::LockRequest;
    use crate::secrets::credentials::accept_new_site;
    use crate::secrets::issue::issue_keys;
    use crate::secrets::passphrase::Passphrases;
    use crate::site::{InitOptions, LOCK_FILE, init_site};
    use keys::timestamp::Timestamp;
    use std::fs;
    use std::io;
    use tempfile::TempDir;

    /// A site with a lock without packages, for which any index vouches, and the key that signs it.
    struct Fixture {
        folder: TempDir,
        site: SiteAndKeys,
        store: Store,
        keys: Locations,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let config = folder.path().join("config");
            let (id, node) = ("lab".parse().unwrap(), "pi1".parse().unwrap());
            let made = issue_keys(&config, &id, Timestamp::from_unix(0), &Passphrases::default()).unwrap();
            let options =
                InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
            let site = init_site(&folder.path().join("site"), &id, &node, &made, &options).unwrap();
            let site = accept_new_site(site, &config, &Passphrases::default()).unwrap();
            let store = Store::at(&folder.path().join("store")).unwrap();
            let at = |name: &str| Some(config.join("lab").join(name));
            let keys = Locations {
                identity: at("admin.age.txt"),
                signing_key: at("signing.key"),
                passphrases: Passphrases::default(),
            };
            Self { folder, site, store, keys }
        }

        fn lock(&self) -> LockFile {
            let lock = Lock {
                request: LockRequest::of(&self.site),
                imported: None,
                packages: Vec::new(),
                variants: Vec::new(),
            };
            LockFile::new(&self.site, lock, Vec::new()).unwrap()
        }

        /// The output and the error of an update that chooses the same packages again.
        fn update(&self, json: bool, consent: &Consent<'_>) -> Result<(String, Option<Error>), Error> {
            let old = LockFile::read_any(&self.site)?;
            let update = Update { site: &self.site, store: &self.store, old: &old, json };
            update.take(self.lock(), &self.keys, consent, &|_| {})
        }

        fn signature(&self) -> std::path::PathBuf {
            self.site.dir.join("site.lock.minisig")
        }
    }

    fn answer(answer: Option<bool>) -> impl Fn(&str) -> io::Result<Option<bool>> {
        move |question| {
            let says = "no package changes, but the lock has no valid signature: ";
            assert!(
                question.starts_with(says) && question.contains("would vouch for its 0 packages"),
                "{question}"
            );
            assert!(question.ends_with("site.lock as it is?"), "{question}");
            Ok(answer)
        }
    }

    #[test]
    fn an_unchanged_lock_is_signed_again_after_consent() {
        let place = Fixture::new();
        let consent = |yes, ask| Consent { dry_run: false, yes, ask };
        let never = |question: &str| -> io::Result<Option<bool>> { panic!("{question}") };
        place.lock().write().unwrap();
        let text = fs::read(place.site.dir.join(LOCK_FILE)).unwrap();

        // If the user does not agree, or cannot be asked, nothing is written.
        let (no, silent, yes) = (answer(Some(false)), answer(None), answer(Some(true)));
        let declined = place.update(false, &consent(false, &no)).unwrap_err();
        assert_eq!(declined.class().exit_code(), 77, "{declined}");
        let (said, error) = place.update(false, &consent(false, &silent)).unwrap();
        assert!(
            error.unwrap().report().contains("add --yes") && said.contains("no package changes"),
            "{said}"
        );
        let plan = Consent { dry_run: true, yes: false, ask: &never };
        let (said, _) = place.update(true, &plan).unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["changed"], &said["written"]), (&false.into(), &false.into()));
        assert!(said["signature_problem"].as_str().unwrap().ends_with("site.lock.minisig is missing"));
        assert!(!place.signature().exists());

        // First missing, then a signature of another content.
        let (said, error) = place.update(false, &consent(false, &yes)).unwrap();
        assert!(said.contains(": 0 packages, unchanged and signed by key ") && error.is_none(), "{said}");
        fs::write(place.signature(), "no signature\n").unwrap();
        let (said, _) = place.update(true, &consent(true, &never)).unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["changed"], &said["written"]), (&false.into(), &true.into()));
        let (said, _) = place.update(false, &consent(false, &never)).unwrap();
        assert!(said.ends_with(": 0 packages, unchanged"), "{said}");
        assert_eq!(fs::read(place.site.dir.join(LOCK_FILE)).unwrap(), text);
    }

    #[test]
    fn an_unchanged_lock_stays_unsigned_without_the_key() {
        let mut place = Fixture::new();
        place.lock().write().unwrap();
        // If no option names a file, a missing key is not an error.
        let key = place.folder.path().join("config/lab/signing.key");
        fs::remove_file(key).unwrap();
        place.keys.signing_key = None;
        let never = |question: &str| -> io::Result<Option<bool>> { panic!("{question}") };
        let (said, error) = place.update(false, &Consent { dry_run: false, yes: true, ask: &never }).unwrap();
        assert!(
            said.contains("unchanged, not signed: it is valid only with this store, until psyops lock sign")
        );
        assert!(error.is_none() && !place.signature().exists());
    }
}
