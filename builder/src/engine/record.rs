//! The record of a node's last build: its steps in order, the inputs of each, and whether and why it ran.
//!
//! The store has one record for each node. A record has no secret and no digest of a secret: of the secret parts it has
//! only the seal, which is ciphertext.

use crate::atomic;
use crate::base::lock_file::index_places;
use crate::file_stamp::FileStamp;
use crate::image::digests::Digests;
use crate::site::Site;
use crate::store::{Inputs, Needed, Step, StepName, StepOrigin, Store, StoreError};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder for records in a store.
const FOLDER: &str = "builds";
/// The version of the format; increased when older records must not be read any more.
const FORMAT: u32 = 1;

/// A step as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The name of the step.
    pub step: String,
    /// Whether the step ran, or its result was in the store.
    pub origin: StepOrigin,
    /// The inputs that differed from those of the build before.
    pub changes: Vec<String>,
    /// Why the step last ran, if that is known.
    #[serde(rename = "last_made")]
    pub last_built: Vec<String>,
    /// The digest of its inputs, in hexadecimal digits.
    pub key: String,
    /// The inputs by name.
    pub inputs: Inputs,
    /// The paths of its result in the store.
    pub places: Vec<PathBuf>,
}

/// The record of a node's last build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    format: u32,
    /// The id of the site.
    pub site: String,
    /// The absolute path of the site's folder.
    pub site_dir: PathBuf,
    /// The name of the node.
    pub node: String,
    /// The stamp of the image file.
    pub image: FileStamp,
    /// The digests of the image's parts.
    pub digests: Digests,
    /// The steps in order.
    pub steps: Vec<StepRecord>,
}

impl BuildRecord {
    /// The record of a build that has just finished; `before` is the record of the build before.
    #[must_use]
    pub fn new(
        (site, node): (&Site, &Name),
        (image, digests): (FileStamp, Digests),
        steps: &[Step],
        before: Option<&Self>,
    ) -> Self {
        let steps = steps.iter().map(|step| record(step, before)).collect();
        Self {
            format: FORMAT,
            site: site.id.to_string(),
            site_dir: absolute(&site.dir),
            node: node.to_string(),
            image,
            digests,
            steps,
        }
    }

    /// The record of the last build of a node. A damaged record counts as none: it is only used for explanations.
    #[must_use]
    pub fn read(store: &Store, site: &Site, node: &Name) -> Option<Self> {
        Self::read_file(&place(store, site, node))
    }

    fn read_file(path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.format == FORMAT).then_some(record)
    }

    /// Writes the record into the store.
    pub fn write(&self, store: &Store, site: &Site, node: &Name) -> Result<(), StoreError> {
        let path = place(store, site, node);
        let failed = |source| StoreError { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        atomic::write_file(&path, &text).map_err(|error| failed(error.into()))
    }

    fn add_to(&self, needed: &mut Needed, store: &Store) {
        needed.places.extend(index_places(&self.site_dir, store));
        for step in &self.steps {
            needed.places.extend(step.places.iter().cloned());
            // Packages are inputs with version and digest, layers with a digest.
            let digests = step.inputs.iter().filter_map(|(_, value)| value.rsplit(' ').next()?.parse().ok());
            needed.places.extend(digests.flat_map(|digest| [store.deb(&digest), store.blob(&digest)]));
        }
    }

    /// The record of the step with this name.
    #[must_use]
    pub fn step(&self, name: StepName) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.step == name.word())
    }
}

/// What the recorded builds of existing sites need of a store. The records of other sites are outdated.
pub fn needed(store: &Store) -> Result<Needed, StoreError> {
    let mut needed = Needed::default();
    for folder in store.entries(FOLDER)? {
        for path in store.entries(folder)? {
            match BuildRecord::read_file(&path) {
                Some(record) if record.site_dir.is_dir() => record.add_to(&mut needed, store),
                _ => needed.stale.push(path),
            }
        }
    }
    Ok(needed)
}

/// Two sites may have the same id, so the folder is part of the name.
fn place(store: &Store, site: &Site, node: &Name) -> PathBuf {
    let dir = Sha256Digest::of(absolute(&site.dir).as_os_str().as_encoded_bytes()).to_string();
    let short = dir.get(..8).unwrap_or(&dir);
    store.dir().join(FOLDER).join(format!("{}-{short}", site.id)).join(format!("{node}.json"))
}

fn absolute(dir: &Path) -> PathBuf {
    fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned())
}

fn record(step: &Step, before: Option<&BuildRecord>) -> StepRecord {
    let before = before.and_then(|before| before.step(step.name));
    let changes = before.map(|before| step.inputs.changes_since(&before.inputs));
    let last_built = match (step.origin, &changes, before) {
        (StepOrigin::Built, None, _) => vec!["it was the first build".to_owned()],
        (StepOrigin::Built, Some(changes), _) if changes.is_empty() => {
            vec!["the result was no longer in the store".to_owned()]
        }
        (StepOrigin::Built, Some(changes), _) => changes.clone(),
        (StepOrigin::Cached, Some(changes), Some(before)) if changes.is_empty() => before.last_built.clone(),
        (StepOrigin::Cached, ..) => vec!["another build made it".to_owned()],
    };
    StepRecord {
        step: step.name.to_string(),
        origin: step.origin,
        changes: changes.unwrap_or_default(),
        last_built,
        key: step.inputs.key().to_string(),
        inputs: step.inputs.clone(),
        places: step.places.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{GeneratedKeys, InitOptions, init_site};
    use crate::store::collect_garbage;

    fn step(release: &str, origin: StepOrigin) -> Step {
        let inputs = Inputs::new(StepName::Root, "1").with("release", release);
        Step { name: StepName::Root, inputs, origin, places: Vec::new() }
    }

    fn recorded(steps: &[Step], before: Option<&BuildRecord>) -> BuildRecord {
        let image = FileStamp::of(Path::new("/proc/self/exe")).unwrap();
        let steps = steps.iter().map(|step| record(step, before)).collect();
        let (site, node) = ("lab".to_owned(), "alpha".to_owned());
        BuildRecord {
            format: FORMAT,
            site,
            site_dir: "/".into(),
            node,
            image,
            digests: Digests::default(),
            steps,
        }
    }

    #[test]
    fn a_step_records_why_it_ran_now_and_last_time() {
        let first = recorded(&[step("1", StepOrigin::Built)], None);
        assert_eq!(first.step(StepName::Root).unwrap().last_built, ["it was the first build"]);
        let same = recorded(&[step("1", StepOrigin::Cached)], Some(&first));
        assert_eq!(same.step(StepName::Root).unwrap().last_built, ["it was the first build"]);
        assert!(same.step(StepName::Root).unwrap().changes.is_empty());
        let changed = recorded(&[step("2", StepOrigin::Built)], Some(&same));
        assert_eq!(changed.step(StepName::Root).unwrap().last_built, ["release: 1 -> 2"]);
        let lost = recorded(&[step("2", StepOrigin::Built)], Some(&changed));
        assert_eq!(lost.step(StepName::Root).unwrap().last_built, ["the result was no longer in the store"]);
        let back = recorded(&[step("1", StepOrigin::Cached)], Some(&lost));
        assert_eq!(back.step(StepName::Root).unwrap().last_built, ["another build made it"]);
        assert_eq!(back.step(StepName::Root).unwrap().changes, ["release: 2 -> 1"]);
    }

    #[test]
    fn a_record_on_disk_has_the_words_that_older_stores_have() {
        let first = recorded(&[step("1", StepOrigin::Built)], None);
        let steps = serde_json::to_value(&first).unwrap()["steps"].take();
        assert_eq!(steps[0]["origin"], "made");
        assert_eq!(steps[0]["last_made"], serde_json::json!(["it was the first build"]));
        let same = recorded(&[step("1", StepOrigin::Cached)], Some(&first));
        assert_eq!(serde_json::to_value(same).unwrap()["steps"][0]["origin"], "kept");
    }

    #[test]
    fn a_file_stamp_is_valid_until_the_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, "one").unwrap();
        let stamp = FileStamp::of(&path).unwrap();
        assert!(stamp.holds());
        fs::write(folder.path().join("other"), "two").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(!stamp.holds());
        fs::remove_file(&path).unwrap();
        assert!(!stamp.holds());
    }

    fn site(folder: &Path) -> Site {
        let keys = GeneratedKeys {
            admin_recipient: format!("age1{}", "q".repeat(58)),
            signing_public: format!("RW{}", "Q".repeat(54)),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        init_site(folder, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
        Site::load(folder).unwrap()
    }

    #[test]
    fn inputs_of_the_last_build_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("store")).unwrap();
        let site = site(&folder.path().join("site"));
        let node = "alpha".parse().unwrap();
        let (needed, other) = (Sha256Digest::of(b"needed"), Sha256Digest::of(b"other"));
        for digest in [&needed, &other] {
            fs::write(store.deb(digest), "deb").unwrap();
            fs::write(store.blob(digest), "layer").unwrap();
            fs::write(store.derived("micro", digest, "tar"), "tar").unwrap();
            Store::remember(&store.derived("micro", digest, "tar")).unwrap();
            fs::create_dir(store.root(digest)).unwrap();
            fs::write(store.root(digest).join("root.squashfs"), "root").unwrap();
        }
        let inputs = Inputs::new(StepName::Root, "1")
            .with("package tree", format!("2.1-1 {needed}"))
            .with("layer 001", Sha256Digest::of(b"needed"));
        let places = vec![store.derived("micro", &needed, "tar"), store.root(&needed)];
        let step = Step { name: StepName::Root, inputs, origin: StepOrigin::Built, places };
        let stamp = FileStamp::of(&site.dir.join("site.toml")).unwrap();
        let record = BuildRecord::new((&site, &node), (stamp, Digests::default()), &[step], None);
        record.write(&store, &site, &node).unwrap();

        let there = |digest: &Sha256Digest| {
            let tar = store.derived("micro", digest, "tar");
            let (deb, layer) = (store.deb(digest), store.blob(digest));
            [deb.exists(), layer.exists(), Store::holds(&tar), store.root(digest).exists()]
        };
        let planned = collect_garbage(&store, true, super::needed).unwrap();
        assert_eq!((there(&needed), there(&other)), ([true; 4], [true; 4]));
        let collected = collect_garbage(&store, false, super::needed).unwrap();
        assert_eq!(collected, planned);
        assert_eq!(collected.removed.len(), 5, "{collected:?}");
        assert_eq!((there(&needed), there(&other)), ([true; 4], [false; 4]));

        fs::remove_dir_all(&site.dir).unwrap();
        collect_garbage(&store, false, super::needed).unwrap();
        assert_eq!(there(&needed), [false; 4]);
        assert!(BuildRecord::read(&store, &site, &node).is_none());
    }
}
