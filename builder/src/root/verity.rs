//! The dm-verity hash tree over a root image (cryptsetup's on-disk format, version 1; see [`handoff::verity`]).
//!
//! `veritysetup verify` accepts the result. The lowest level takes nearly all of the time, so all cores hash it in
//! pieces; each piece has its place in the level, so the order is fixed whichever core finishes first.

use crate::atomic::{AtomicError, AtomicFile};
use crate::error::{Class, Classified};
use crate::input::ReadAt;
use crate::parallel;
use crate::width::{to_u64, to_usize};
use handoff::hash::Sha256Digest;
use handoff::verity::{BLOCK, BLOCK_LEN, PER_BLOCK, RootHash, SALT_LEN, Superblock};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

/// The data blocks in a piece that one core hashes at a time: 4 hash blocks full of digests, for 2 MiB.
const PIECE: u64 = PER_BLOCK * 4;
/// The most threads: twice as many as processors, so that some read while others hash, but not more than a disk can
/// serve.
const MOST_THREADS: usize = 8;

/// Why the hash tree could not be made.
#[derive(Debug, Error, classified::Cause)]
pub enum VerityError {
    /// The root image could not be read.
    #[error("cannot read the root image {path}: {source}")]
    Read {
        /// The path of the image.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// The size of the image is not a multiple of the block size.
    #[error(
        "the root image {path} has {size} bytes, which is not a multiple of {BLOCK}: build it again with padding"
    )]
    NotAligned {
        /// The path of the image.
        path: PathBuf,
        /// The size of the image in bytes.
        size: u64,
    },
    /// The image has only one block. Then there is no tree: cryptsetup uses the block's hash as the root hash.
    #[error("the root image {path} has only {size} bytes: something went wrong when it was made")]
    TooSmall {
        /// The path of the image.
        path: PathBuf,
        /// The size of the image in bytes.
        size: u64,
    },
    /// The tree could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for VerityError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::NotAligned { .. } | Self::TooSmall { .. } => Class::BadContent,
            Self::Write(_) => return None,
        })
    }
}

/// The ids of a tree, which are inputs: nothing here is random.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    /// The UUID in the superblock.
    pub uuid: Uuid,
    /// The salt that is hashed before each block.
    pub salt: [u8; SALT_LEN],
}

/// Writes the hash tree of `data` to `output` and returns its root hash.
pub fn format(data: &Path, output: &Path, parameters: &Parameters) -> Result<RootHash, VerityError> {
    let read = |source| VerityError::Read { path: data.to_owned(), source };
    let file = File::open(data).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    if size <= BLOCK {
        return Err(VerityError::TooSmall { path: data.to_owned(), size });
    }
    if !size.is_multiple_of(BLOCK) {
        return Err(VerityError::NotAligned { path: data.to_owned(), size });
    }
    let superblock =
        Superblock { uuid: *parameters.uuid.as_bytes(), data_blocks: size / BLOCK, salt: parameters.salt };
    let (levels, root) = levels(&file, 0, &superblock).map_err(read)?;
    let tree = AtomicFile::create(output)?;
    let mut offset = 0;
    for bytes in std::iter::once(&superblock.encode()).chain(&levels) {
        tree.write_at(offset, bytes)?;
        offset += to_u64(bytes.len());
    }
    tree.commit()?;
    Ok(root)
}

/// A block that does not fit the root hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// A block of the data: its number.
    #[error("block {0} of its data (4 KiB each) does not match the root hash")]
    Data(u64),
    /// A block of the tree: its number, counted from the superblock.
    #[error("block {0} of its hash tree (4 KiB each) does not match its data")]
    Tree(u64),
}

/// Reads all data at `offset` of `file` and compares it with `tree`, whose first block is the superblock and whose top
/// has the root hash `root`. Returns the first damaged block.
pub fn walk(
    (file, offset): (&dyn ReadAt, u64),
    (superblock, tree): (&Superblock, &[u8]),
    root: RootHash,
) -> io::Result<Result<(), Damage>> {
    let (levels, found) = levels(file, offset, superblock)?;
    let mut stored = tree.get(BLOCK_LEN..).unwrap_or_default();
    let mut first = 1;
    for (height, level) in levels.iter().enumerate() {
        let Some((there, rest)) = stored.split_at_checked(level.len()) else {
            // The tree ends within this level.
            return Ok(Err(Damage::Tree(first + to_u64(stored.len()) / BLOCK)));
        };
        stored = rest;
        let is_lowest = height + 1 == levels.len();
        if found != root && is_lowest {
            let mut digests = level.chunks_exact(32).zip(there.chunks_exact(32)).zip(0..);
            if let Some((_, block)) = digests.find(|((ours, theirs), _)| ours != theirs) {
                return Ok(Err(Damage::Data(block)));
            }
        }
        let mut blocks = level.chunks(BLOCK_LEN).zip(there.chunks(BLOCK_LEN)).zip(first..);
        if found == root
            && let Some((_, block)) = blocks.find(|((ours, theirs), _)| ours != theirs)
        {
            return Ok(Err(Damage::Tree(block)));
        }
        first += to_u64(level.len()) / BLOCK;
    }
    // If the data have another root hash, they differ from the tree in some digest, unless the tree was changed with
    // them.
    Ok(if found == root { Ok(()) } else { Err(Damage::Tree(1)) })
}

/// The root hash of the data at `offset` of `file`.
pub fn root_hash((file, offset): (&dyn ReadAt, u64), superblock: &Superblock) -> io::Result<RootHash> {
    Ok(levels(file, offset, superblock)?.1)
}

/// The levels of a tree, the top first, and its root hash.
fn levels(file: &dyn ReadAt, offset: u64, superblock: &Superblock) -> io::Result<(Vec<Vec<u8>>, RootHash)> {
    let mut level = lowest_level((file, offset), superblock)?;
    let mut levels = Vec::new();
    while level.len() > BLOCK_LEN {
        let next = next_level(superblock, &level);
        levels.push(std::mem::replace(&mut level, next));
    }
    let root = RootHash(superblock.hash_block(&level));
    levels.push(level);
    levels.reverse();
    Ok((levels, root))
}

/// The digests of all data blocks, padded to whole hash blocks.
fn lowest_level(data: (&dyn ReadAt, u64), superblock: &Superblock) -> io::Result<Vec<u8>> {
    let pieces: Vec<u64> = (0..superblock.data_blocks.div_ceil(PIECE)).collect();
    let threads = (parallel::processors() * 2).min(MOST_THREADS);
    let digests = parallel::each_with(threads, &pieces, Vec::new, |buffer, piece| {
        hash_piece(data, superblock, *piece, buffer)
    })?;
    let mut level = digests.concat();
    level.resize(level.len().next_multiple_of(BLOCK_LEN), 0);
    Ok(level)
}

/// The digests of the blocks of a piece. `buffer` is memory for it.
fn hash_piece(
    (file, offset): (&dyn ReadAt, u64),
    superblock: &Superblock,
    piece: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Vec<u8>> {
    let first = piece * PIECE;
    let blocks = PIECE.min(superblock.data_blocks - first);
    buffer.resize(to_usize(blocks * BLOCK), 0);
    file.fill_at(buffer, offset + first * BLOCK)?;
    Ok(buffer.chunks_exact(BLOCK_LEN).flat_map(|block| *superblock.hash_block(block).as_bytes()).collect())
}

fn next_level(superblock: &Superblock, level: &[u8]) -> Vec<u8> {
    let mut next: Vec<u8> =
        level.chunks(BLOCK_LEN).flat_map(|block| *superblock.hash_block(block).as_bytes()).collect();
    next.resize(next.len().next_multiple_of(BLOCK_LEN), 0);
    next
}

/// What dm-verity checks when a node starts: whether the tree's top block hashes to `root`. The kernel checks the rest
/// of the tree when it reads it.
#[must_use]
pub fn top_matches(superblock: &Superblock, top_block: &[u8], root: RootHash) -> bool {
    RootHash(superblock.hash_block(top_block)) == root
}

/// The two partition GUIDs derived from a root hash: its first 128 bits for the root, its last 128 bits for the tree.
#[must_use]
pub fn partition_guids(root: RootHash) -> (Uuid, Uuid) {
    let Sha256Halves { first, last } = halves(&root.0);
    (Uuid::from_bytes(first), Uuid::from_bytes(last))
}

struct Sha256Halves {
    first: [u8; 16],
    last: [u8; 16],
}

fn halves(digest: &Sha256Digest) -> Sha256Halves {
    let (mut first, mut last) = ([0; 16], [0; 16]);
    first.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    last.iter_mut().zip(digest.as_bytes().iter().skip(16)).for_each(|(to, from)| *to = *from);
    Sha256Halves { first, last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn parameters() -> Parameters {
        Parameters { uuid: Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef), salt: [0x5a; 32] }
    }

    fn data(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK_LEN).map(|i| u8::try_from((i / 7 + i / BLOCK_LEN) % 251).unwrap()).collect()
    }

    fn veritysetup(verb: &str, folder: &Path, tree: &str, root: &str) -> (bool, String) {
        let mut command = Command::new("/usr/sbin/veritysetup");
        command.arg(verb);
        if verb == "format" {
            let uuid = parameters().uuid.to_string();
            command.args(["--salt", &handoff::hash::to_hex(&[0x5a; 32]), "--uuid", &uuid]);
        }
        command.arg(folder.join("data")).arg(folder.join(tree));
        if verb == "verify" {
            command.arg(root);
        }
        let output = command.output().expect("veritysetup is needed: install cryptsetup-bin");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn veritysetup_makes_and_accepts_the_same_tree() {
        // One level, exactly one full block, one block more, and two levels of more than one piece.
        for blocks in [2, 128, 129, 3000] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("data"), data(blocks)).unwrap();
            let ours = folder.path().join("ours");
            let root = format(&folder.path().join("data"), &ours, &parameters()).unwrap();
            assert!(veritysetup("verify", folder.path(), "ours", &root.to_string()).0, "{blocks} blocks");
            let (made, text) = veritysetup("format", folder.path(), "theirs", "");
            assert!(made && text.contains(&root.to_string()), "{blocks} blocks: {text}");
            let (ours, theirs) = (std::fs::read(&ours), std::fs::read(folder.path().join("theirs")));
            assert!(ours.unwrap() == theirs.unwrap(), "{blocks} blocks: the trees differ");
        }
    }

    #[test]
    fn a_flipped_byte_is_found_by_veritysetup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, data(200)).unwrap();
        let root = format(&path, &folder.path().join("ours"), &parameters()).unwrap();
        let mut bytes = data(200);
        bytes[150 * BLOCK_LEN + 9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(!veritysetup("verify", folder.path(), "ours", &root.to_string()).0);
    }

    #[test]
    fn a_walk_names_the_damaged_block_of_data_or_tree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let with_offset = |bytes: &[u8]| {
            std::fs::write(&path, [&[7; 512], bytes].concat()).unwrap();
            File::open(&path).unwrap()
        };
        let good = data(3000);
        std::fs::write(&path, &good).unwrap();
        let root = format(&path, &folder.path().join("tree"), &parameters()).unwrap();
        let tree = std::fs::read(folder.path().join("tree")).unwrap();
        let superblock = Superblock::decode(&tree[..BLOCK_LEN]).unwrap();
        let look = |file: &File, tree: &[u8]| walk((file, 512), (&superblock, tree), root).unwrap();
        let file = with_offset(&good);
        assert_eq!(look(&file, &tree), Ok(()));
        assert_eq!(root_hash((&file, 512), &superblock).unwrap(), root);
        let blocks = tree.len() / BLOCK_LEN;
        for block in 1..blocks {
            let mut bad = tree.clone();
            bad[block * BLOCK_LEN + 5] ^= 1;
            assert_eq!(look(&file, &bad), Err(Damage::Tree(to_u64(block))));
        }
        // A tree that ends too early is damaged at its end, although all that it has is right.
        for block in 1..blocks {
            let cut = &tree[..block * BLOCK_LEN];
            assert!(matches!(look(&file, cut), Err(Damage::Tree(_))), "{block}");
        }
        assert_eq!(look(&file, &tree[..(blocks - 1) * BLOCK_LEN]), Err(Damage::Tree(to_u64(blocks - 1))));
        for block in [0, 127, 128, 2047, 2048, 2999] {
            let mut bad = good.clone();
            bad[block * BLOCK_LEN + 4095] ^= 1;
            assert_eq!(look(&with_offset(&bad), &tree), Err(Damage::Data(to_u64(block))));
        }
        let error = walk((&with_offset(&good[..BLOCK_LEN]), 512), (&superblock, &tree), root).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    }

    #[test]
    fn an_image_without_padding_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, [0; 4097]).unwrap();
        let error = format(&path, &folder.path().join("tree"), &parameters()).unwrap_err();
        assert!(matches!(error, VerityError::NotAligned { size: 4097, .. }), "{error}");
        assert!(!folder.path().join("tree").exists());
    }

    #[test]
    fn the_root_hash_names_both_partitions() {
        let root = RootHash(Sha256Digest::of(b"abc"));
        let (root_guid, verity_guid) = partition_guids(root);
        assert_eq!(root_guid.to_string(), "ba7816bf-8f01-cfea-4141-40de5dae2223");
        assert_eq!(verity_guid.to_string(), "b00361a3-9617-7a9c-b410-ff61f20015ad");
    }
}
