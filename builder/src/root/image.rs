//! The root of a slot: squashfs and hash tree, stored under the digest of all their inputs.
//!
//! A second node of the same site, or a second build, uses the stored root: the same name means the same inputs.

use super::squashfs::{self, SquashfsError};
use super::verity::{self, Parameters, VerityError, top_matches};
use crate::error::{Class, Classified};
use crate::progress::{Count, Goal, while_it_grows};
use crate::scratch::Scratch;
use crate::store::{Inputs, Step, StepName, StepOrigin, Store, StoreError};
use crate::tree::{LayeredTree, TreeError};
use crate::width::to_u64;
use handoff::hash::Sha256Digest;
use handoff::verity::{BLOCK, BLOCK_LEN, RootHash, Superblock};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file names of the parts in the folder of a root.
const SQUASHFS: &str = "root.squashfs";
const TREE: &str = "root.verity";
const HASH: &str = "root.hash";

/// A finished root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootImage {
    /// The path of the squashfs.
    pub squashfs: PathBuf,
    /// The path of the hash tree.
    pub verity: PathBuf,
    /// The root hash of the hash tree.
    pub hash: RootHash,
}

impl RootImage {
    /// Reads the whole root before an image gets it, as the kernel of a node would: each block must fit the root hash.
    /// A damaged root is removed, so that the next build makes it again.
    pub fn check(&self) -> Result<(), RootError> {
        let broken = |source| StoreError { path: self.squashfs.clone(), source };
        let tree = fs::read(&self.verity).map_err(broken)?;
        let block = tree.get(..BLOCK_LEN).unwrap_or_default();
        let data = File::open(&self.squashfs).map_err(broken)?;
        let problem = match Superblock::decode(block) {
            Err(bad) => bad.to_string(),
            Ok(superblock) => {
                match verity::walk((&data, 0), (&superblock, &tree), self.hash).map_err(broken)? {
                    Err(damage) => damage.to_string(),
                    Ok(()) => return Ok(()),
                }
            }
        };
        // If it cannot be removed, the next build reports the same error.
        let _ = self.squashfs.parent().map(fs::remove_dir_all);
        Err(RootError::Damaged { path: self.squashfs.clone(), problem })
    }
}

/// Why a root could not be made.
#[derive(Debug, Error, classified::Cause)]
pub enum RootError {
    /// The layers could not be merged.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The squashfs could not be made.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// The hash tree could not be made.
    #[error(transparent)]
    Verity(#[from] VerityError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root in the store is damaged.
    #[error("{path} was damaged in the store and has been removed from it: {problem}")]
    Damaged {
        /// The path of the squashfs.
        path: PathBuf,
        /// What is wrong with it or with its hash tree.
        problem: String,
    },
    /// The files of the site changed while the root was made.
    #[error("the inputs of the root changed while it was made: {}", changes.join("; "))]
    Changed {
        /// The inputs that changed.
        changes: Vec<String>,
    },
}

impl Classified for RootError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Damaged { .. } => Class::Io,
            Self::Changed { .. } => Class::Failure,
            Self::Tree(_) | Self::Squashfs(_) | Self::Verity(_) | Self::Store(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some("build again: the builder then makes it again".into()),
            Self::Changed { .. } => Some("build again".into()),
            _ => None,
        }
    }
}

/// How to make a root. The inputs are computed again after making it, to notice changes meanwhile.
pub trait Recipe {
    /// Everything that decides the content of the root.
    fn inputs(&self) -> Result<Inputs, TreeError>;
    /// The files of the root.
    fn tree(&self) -> Result<LayeredTree, TreeError>;
}

/// Makes the root of a recipe, or takes it from the store.
pub fn make(
    recipe: &impl Recipe,
    build_time: u64,
    parameters: &Parameters,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(RootImage, Step), RootError> {
    let _step = StepName::Root.begin();
    let inputs = recipe.inputs()?;
    let folder = store.root(&inputs.key());
    let step = |origin| Step::stored(StepName::Root, inputs.clone(), origin, &folder).logged();
    if let Some(root) = take(&folder) {
        return Ok((root, step(StepOrigin::Cached)));
    }
    let broken = |source| StoreError { path: folder.clone(), source };
    let work = store.scratch()?;
    let squashfs = work.path().join(SQUASHFS);
    let tree = recipe.tree()?;
    progress("root: packing it");
    let written = Count::default();
    while_it_grows(
        Goal::Bytes(tree.content_length()),
        || written.get(),
        progress,
        || {
            squashfs::make(&squashfs, build_time, |out| {
                Ok::<(), RootError>(tree.write_tar(Counted { out, count: &written }, build_time)?)
            })
        },
    )?;
    let hash = verity::format(&squashfs, &work.path().join(TREE), parameters)?;
    fs::write(work.path().join(HASH), format!("{hash}\n")).map_err(broken)?;
    for name in [SQUASHFS, HASH] {
        File::open(work.path().join(name)).and_then(|file| file.sync_all()).map_err(broken)?;
    }
    let changes = recipe.inputs()?.changes_since(&inputs);
    if !changes.is_empty() {
        return Err(RootError::Changed { changes });
    }
    publish(&work, &folder).map_err(broken)?;
    let root = take(&folder).ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?;
    Ok((root, step(StepOrigin::Built)))
}

/// Counts the bytes that are written through it.
struct Counted<'a> {
    out: &'a mut dyn Write,
    count: &'a Count,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count.add(to_u64(written));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Moves a finished root to its place. If another build was faster, its root stays, because it may be in use by now; a
/// damaged one is replaced.
fn publish(work: &Scratch, folder: &Path) -> io::Result<()> {
    if take(folder).is_some() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    match fs::rename(work.path(), folder) {
        Err(error) if take(folder).is_none() => Err(error),
        // After the rename, nothing is left under the old name.
        Err(_) | Ok(()) => Ok(()),
    }
}

/// The root in `folder`, if its parts fit: the tree's top has the root hash, and the squashfs has the right length.
/// [`RootImage::check`] reads the rest.
fn take(folder: &Path) -> Option<RootImage> {
    let (squashfs, verity) = (folder.join(SQUASHFS), folder.join(TREE));
    let hash: Sha256Digest = fs::read_to_string(folder.join(HASH)).ok()?.trim_end().parse().ok()?;
    let hash = RootHash(hash);
    let mut tree = BufReader::new(File::open(&verity).ok()?);
    let mut block = vec![0; BLOCK_LEN];
    tree.read_exact(&mut block).ok()?;
    let superblock = Superblock::decode(&block).ok()?;
    tree.read_exact(&mut block).ok()?;
    let whole = fs::metadata(&squashfs).ok()?.len() == superblock.data_blocks * BLOCK
        && fs::metadata(&verity).ok()?.len() == superblock.hash_device_size();
    let root = RootImage { squashfs, verity, hash };
    (whole && top_matches(&superblock, &block, hash)).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::layers::digest;
    use std::os::unix::fs::FileExt as _;

    fn tree() -> LayeredTree {
        let mut tree = LayeredTree::new();
        tree.insert_file("etc/motd", 0o644, b"hello\n".to_vec()).unwrap();
        let noise: Vec<u8> =
            (0..9000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        tree.insert_file("usr/noise", 0o644, noise).unwrap();
        tree
    }

    struct Fixed(LayeredTree);

    impl Recipe for Fixed {
        fn inputs(&self) -> Result<Inputs, TreeError> {
            Ok(Inputs::new(StepName::Root, "1").with("tree", digest(&self.0, 1_700_000_000)?))
        }

        fn tree(&self) -> Result<LayeredTree, TreeError> {
            Ok(self.0.clone())
        }
    }

    fn build(tree: &LayeredTree, store: &Path) -> (RootImage, StepOrigin) {
        let parameters = Parameters { uuid: uuid::Uuid::from_u128(7), salt: [3; 32] };
        let store = Store::at(store).unwrap();
        let (root, step) = make(&Fixed(tree.clone()), 1_700_000_000, &parameters, &store, &|_| ()).unwrap();
        (root, step.origin)
    }

    #[test]
    fn a_second_build_takes_the_root_from_the_store() {
        let store = tempfile::tempdir().unwrap();
        let (first, built) = build(&tree(), store.path());
        let (second, cached) = build(&tree(), store.path());
        assert_eq!((built, cached), (StepOrigin::Built, StepOrigin::Cached));
        assert_eq!(first, second);
        let mut other = tree();
        other.insert_file("etc/motd", 0o600, b"hello\n".to_vec()).unwrap();
        let (third, origin) = build(&other, store.path());
        assert!(origin == StepOrigin::Built && third.hash != first.hash);
    }

    #[test]
    fn another_store_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (build(&tree(), one.path()).0, build(&tree(), two.path()).0);
        assert_eq!(one.hash, two.hash);
    }

    #[test]
    fn a_damaged_root_in_the_store_is_made_again() {
        let store = tempfile::tempdir().unwrap();
        let (first, _) = build(&tree(), store.path());
        let file = File::options().write(true).open(&first.verity).unwrap();
        file.write_all_at(&[0xff], 4097).unwrap();
        let (second, origin) = build(&tree(), store.path());
        assert_eq!((origin, second.hash), (StepOrigin::Built, first.hash));
        assert_eq!(build(&tree(), store.path()).1, StepOrigin::Cached);
    }

    #[test]
    fn a_damaged_block_is_found_before_an_image_gets_it() {
        let store = tempfile::tempdir().unwrap();
        let (first, _) = build(&tree(), store.path());
        first.check().unwrap();
        for (file, place, what) in [
            (&first.squashfs, 4096 + 7, "block 1 of its data"),
            (&first.verity, 2 * 4096 - 1, "block 1 of its hash tree"),
        ] {
            let opened = File::options().read(true).write(true).open(file).unwrap();
            let mut byte = [0];
            opened.read_exact_at(&mut byte, place).unwrap();
            opened.write_all_at(&[byte[0] ^ 1], place).unwrap();
            let error = first.check().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            let (second, origin) = build(&tree(), store.path());
            assert_eq!((origin, second), (StepOrigin::Built, first.clone()));
        }
    }

    #[test]
    fn inputs_that_change_during_the_build_are_an_error() {
        struct Restless(std::cell::Cell<u32>);

        impl Recipe for Restless {
            fn inputs(&self) -> Result<Inputs, TreeError> {
                self.0.set(self.0.get() + 1);
                Ok(Inputs::new(StepName::Root, "1").with("overlay common", self.0.get()))
            }

            fn tree(&self) -> Result<LayeredTree, TreeError> {
                Ok(tree())
            }
        }

        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let parameters = Parameters { uuid: uuid::Uuid::nil(), salt: [0; 32] };
        let error = make(&Restless(0.into()), 0, &parameters, &store, &|_| ()).unwrap_err();
        assert!(error.to_string().ends_with("changed while it was made: overlay common: 1 -> 2"), "{error}");
        // The folder can be removed, so it is empty.
        fs::remove_dir(folder.path().join("roots")).unwrap();
    }
}
