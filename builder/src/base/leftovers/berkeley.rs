//! Databases of Berkeley DB (maps of postfix and sendmail): each has an id of 20 bytes, made from the inode, the
//! device, the time and random numbers, by which programs that share a cache tell files apart. It is replaced by an id
//! that depends on the path only, in each page that has it: databases within the file have it in their first page, too.

use crate::tree::{LayeredTree, TreeError};
use handoff::hash::Sha256Digest;
use std::ops::Range;

/// The magic numbers of a hash, btree, queue and heap, at this place of the first page (`db_page.h`, struct
/// `_dbmeta33`).
const MAGIC: [u32; 4] = [0x0006_1561, 0x0005_3162, 0x0004_2253, 0x0007_4582];
const MAGIC_AT: Range<usize> = 12..16;
const ID_AT: Range<usize> = 52..72;
/// The size of the smallest page in bytes.
const SMALLEST: usize = 512;
/// The folders in which scripts make databases.
const FOLDERS: [&str; 2] = ["etc/", "var/"];

/// Replaces the id of each database.
pub(super) fn apply(tree: &mut LayeredTree) -> Result<(), TreeError> {
    let is_candidate =
        |path: &&str| FOLDERS.iter().any(|folder| path.starts_with(folder)) && tree.is_file(path);
    let paths: Vec<String> = tree.paths().filter(is_candidate).map(str::to_owned).collect();
    for path in paths {
        let (Some(bytes), Some(facts)) = (tree.read(&path)?, tree.metadata(&path).cloned()) else { continue };
        if let Some(fixed) = with_id(&path, &bytes) {
            tree.replace_file(&path, fixed, facts)?;
        }
    }
    Ok(())
}

fn with_id(path: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let magic = u32::from_le_bytes(bytes.get(MAGIC_AT)?.try_into().ok()?);
    if bytes.len() < SMALLEST || !MAGIC.contains(&magic) {
        return None;
    }
    let digest = Sha256Digest::of(path.as_bytes());
    let (old, new) = (bytes.get(ID_AT)?, digest.as_bytes().get(..ID_AT.len())?);
    let mut fixed = bytes.to_vec();
    // The id is at the same place in every page.
    for page in fixed.chunks_mut(SMALLEST) {
        if let Some(id) = page.get_mut(ID_AT).filter(|id| **id == *old) {
            id.copy_from_slice(new);
        }
    }
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_an_id_of_its_path_and_nothing_else_is_changed() {
        let mut database: Vec<u8> = (0..4096_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        database[MAGIC_AT].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
        database[2 * SMALLEST..][ID_AT].fill(8);
        let mut other = database.clone();
        other[ID_AT].fill(9);
        other[3 * SMALLEST..][ID_AT].fill(9);
        let mut tree = LayeredTree::new();
        for (path, content) in [("etc/a.db", &database), ("var/b.db", &other), ("usr/c.db", &other)] {
            tree.insert_file(path, 0o640, content.clone()).unwrap();
        }
        tree.insert_file("etc/text", 0o644, *b"some text that is no database").unwrap();
        apply(&mut tree).unwrap();
        let id = |path: &str| tree.read(path).unwrap().unwrap()[ID_AT].to_vec();
        assert_eq!(id("etc/a.db"), Sha256Digest::of(b"etc/a.db").as_bytes()[..20]);
        assert_eq!(id("var/b.db"), Sha256Digest::of(b"var/b.db").as_bytes()[..20]);
        assert_eq!(id("usr/c.db"), [9; 20]);
        assert_eq!(tree.read("var/b.db").unwrap().unwrap()[3 * SMALLEST..][ID_AT], id("var/b.db"));
        let mut a = tree.read("etc/a.db").unwrap().unwrap();
        a[ID_AT].copy_from_slice(&database[ID_AT]);
        assert_eq!(a, database);
        assert_eq!(tree.metadata("etc/a.db").unwrap().mode & 0o777, 0o640);
    }

    #[test]
    fn a_file_that_only_begins_like_a_database_is_unchanged() {
        let mut short = vec![0; 511];
        short[MAGIC_AT].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
        assert_eq!((with_id("x", &short), with_id("x", &[0; 4096]), with_id("x", b"")), (None, None, None));
    }
}
