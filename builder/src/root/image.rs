//! The root as it goes into a slot: squashfs and hash tree, kept in the cache under the digest of all that made them.
//!
//! A second node of the same site, or a second build, takes what is there: the name says that nothing differs.

use super::layers::digest;
use super::squashfs::{self, SquashfsError};
use super::verity::{self, Parameters, VerityError, top_matches};
use crate::base::tree::{LayeredTree, TreeError};
use crate::error::{Class, Classified};
use handoff::hash::Sha256Digest;
use handoff::verity::{BLOCK, BLOCK_LEN, RootHash, Superblock};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thiserror::Error;

/// Grows when the same inputs are to give another root.
const RECIPE: &str = "psyops-root 1";
const SQUASHFS: &str = "root.squashfs";
const TREE: &str = "root.verity";
const HASH: &str = "root.hash";

/// A finished root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootImage {
    /// The squashfs.
    pub squashfs: PathBuf,
    /// Its hash tree.
    pub verity: PathBuf,
    /// The root hash.
    pub hash: RootHash,
    /// Whether it was in the cache.
    pub cached: bool,
}

/// Why there is no root.
#[derive(Debug, Error)]
pub enum RootError {
    /// The layers.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The squashfs.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// The hash tree.
    #[error(transparent)]
    Verity(#[from] VerityError),
    /// The cache.
    #[error("cannot write {path}: {source}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Classified for RootError {
    fn class(&self) -> Class {
        match self {
            Self::Tree(error) => error.class(),
            Self::Squashfs(error) => error.class(),
            Self::Verity(error) => error.class(),
            Self::Cache { source, .. } => Class::of_writing(source),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Tree(error) => error.advice(),
            Self::Squashfs(error) => error.advice(),
            Self::Verity(error) => error.advice(),
            Self::Cache { .. } => Some("point XDG_CACHE_HOME to a folder with room".into()),
        }
    }
}

/// Makes the root of `tree`, or takes the one that is in `cache`.
pub fn make(
    tree: &LayeredTree,
    build_time: u64,
    parameters: &Parameters,
    cache: &Path,
) -> Result<RootImage, RootError> {
    let key = key(&digest(tree, build_time)?, build_time, parameters);
    let folder = cache.join(key.to_string());
    if let Some(root) = take(&folder) {
        return Ok(root);
    }
    let broken = |source| RootError::Cache { path: folder.clone(), source };
    fs::create_dir_all(cache).map_err(broken)?;
    let work = tempfile::Builder::new().prefix(".root-").tempdir_in(cache).map_err(broken)?;
    let squashfs = work.path().join(SQUASHFS);
    squashfs::make(&squashfs, build_time, |out| tree.write_tar(out, build_time).map_err(RootError::from))?;
    let hash = verity::format(&squashfs, &work.path().join(TREE), parameters)?;
    fs::write(work.path().join(HASH), format!("{hash}\n")).map_err(broken)?;
    for name in [SQUASHFS, HASH] {
        File::open(work.path().join(name)).and_then(|file| file.sync_all()).map_err(broken)?;
    }
    publish(work, &folder).map_err(broken)?;
    Ok(RootImage { squashfs: folder.join(SQUASHFS), verity: folder.join(TREE), hash, cached: false })
}

/// Gives a finished root its name. Where another build was quicker, its root stays, because it may be in use by now; one
/// that does not hold is replaced.
fn publish(work: TempDir, folder: &Path) -> io::Result<()> {
    if take(folder).is_some() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    match fs::rename(work.path(), folder) {
        Err(error) if take(folder).is_none() => Err(error),
        Err(_) => Ok(()),
        Ok(()) => {
            // There is nothing left to be removed under the old name.
            let _ = work.keep();
            Ok(())
        }
    }
}

fn key(tree: &Sha256Digest, build_time: u64, parameters: &Parameters) -> Sha256Digest {
    Sha256Digest::of_parts(&[
        RECIPE.as_bytes(),
        tree.as_bytes(),
        &build_time.to_le_bytes(),
        parameters.uuid.as_bytes(),
        &parameters.salt,
    ])
}

/// The root in `folder`, where its parts fit together: the tree's top has the root hash, and the squashfs its length.
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
    let root = RootImage { squashfs, verity, hash, cached: true };
    (whole && top_matches(&superblock, &block, hash)).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn tree() -> LayeredTree {
        let mut tree = LayeredTree::new();
        tree.insert_file("etc/motd", 0o644, b"hello\n".to_vec()).unwrap();
        let noise: Vec<u8> =
            (0..9000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        tree.insert_file("usr/noise", 0o644, noise).unwrap();
        tree
    }

    fn build(tree: &LayeredTree, cache: &Path) -> RootImage {
        let parameters = Parameters { uuid: uuid::Uuid::from_u128(7), salt: [3; 32] };
        make(tree, 1_700_000_000, &parameters, cache).unwrap()
    }

    #[test]
    fn the_second_time_it_comes_from_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let first = build(&tree(), cache.path());
        let second = build(&tree(), cache.path());
        assert_eq!((first.cached, second.cached), (false, true));
        assert_eq!((&first.squashfs, first.hash), (&second.squashfs, second.hash));
        let mut other = tree();
        other.insert_file("etc/motd", 0o600, b"hello\n".to_vec()).unwrap();
        let third = build(&other, cache.path());
        assert!(!third.cached && third.hash != first.hash);
    }

    #[test]
    fn another_cache_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (build(&tree(), one.path()), build(&tree(), two.path()));
        assert_eq!(one.hash, two.hash);
    }

    #[test]
    fn a_cache_that_does_not_hold_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let first = build(&tree(), cache.path());
        let file = File::options().write(true).open(&first.verity).unwrap();
        file.write_all_at(&[0xff], 4097).unwrap();
        let second = build(&tree(), cache.path());
        assert_eq!((second.cached, second.hash), (false, first.hash));
        assert!(build(&tree(), cache.path()).cached);
    }
}
