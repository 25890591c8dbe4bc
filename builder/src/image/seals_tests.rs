//! Which of two seals counts: this module, `why` and the loader's own choice agree in each case.

use super::fixture::{self, Recipe};
use super::reader::ImageReader;
use super::seals::{newest, owner};
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::issue::signing::SigningKey;
use keys::seal::newest as loader;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// A seal to be put into a partition.
#[derive(Clone, Copy)]
enum Put<'k> {
    /// A seal of this node with this generation, signed by this key.
    Seal(&'static str, u64, &'k SigningKey),
    /// The same, with its last byte changed.
    Damaged(&'static str, u64, &'k SigningKey),
    /// Nothing.
    Empty,
}

impl Put<'_> {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Seal(node, generation, signing) => {
                fixture::seal(&Recipe { node, generation, ..Recipe::plain(signing) })
            }
            Self::Damaged(node, generation, signing) => {
                let mut bytes = Self::Seal(node, generation, signing).bytes();
                // In the header, which is signed.
                let at = bytes.windows(4).position(|four| four == b"2026").unwrap();
                bytes[at] = b'3';
                bytes
            }
        }
    }
}

#[test]
fn the_seal_that_counts_is_the_one_that_the_loader_takes() {
    let (key, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let fixture = fixture::image_of(&Recipe::plain(&key));
    let path = fixture.image.path.as_path();
    let file = File::options().write(true).open(path).unwrap();
    let (site, keys): (Name, _) = ("site".parse().unwrap(), [key.public().clone()]);
    let cases = [
        ("the newer one in b", Put::Seal("a", 4, &key), Put::Seal("b", 5, &key), Some("b")),
        ("the newer one in a", Put::Seal("a", 5, &key), Put::Seal("b", 4, &key), Some("a")),
        ("of equals, the first", Put::Seal("a", 4, &key), Put::Seal("b", 4, &key), Some("a")),
        ("only one", Put::Empty, Put::Seal("b", 1, &key), Some("b")),
        ("a stranger's higher one", Put::Seal("a", 4, &key), Put::Seal("b", 9, &stranger), Some("a")),
        ("a stranger's first one", Put::Seal("a", 9, &stranger), Put::Seal("b", 4, &key), Some("b")),
        ("a damaged higher one", Put::Damaged("a", 9, &key), Put::Seal("b", 4, &key), Some("b")),
        ("none that is valid", Put::Damaged("a", 9, &key), Put::Seal("b", 4, &stranger), None),
    ];
    for (case, a, b, expected) in cases {
        let reader = ImageReader::open(path).unwrap();
        let bytes = [a, b].map(Put::bytes);
        for (slot, seal) in Slot::BOTH.into_iter().zip(&bytes) {
            let place = reader.partition(Role::Seal(slot)).unwrap();
            let mut partition = vec![0; usize::try_from(place.size.0).unwrap()];
            partition[..seal.len()].copy_from_slice(seal);
            file.write_all_at(&partition, place.offset.0).unwrap();
        }
        let sources = Slot::BOTH.into_iter().zip(bytes.iter().map(Vec::as_slice));
        let taken = loader::newest(sources, &keys, &site, &LeastGeneration::default()).chosen;
        let taken = taken.map(|(slot, seal)| (slot, seal.header().node.to_string()));
        assert_eq!(taken.as_ref().map(|(_, node)| node.as_str()), expected, "{case}");
        let ours = newest(&reader, &keys, &site, &LeastGeneration::default()).chosen;
        assert_eq!(ours.map(|(slot, seal)| (slot, seal.header().node.to_string())), taken, "{case}");
        let node = expected.map(str::to_owned);
        let flash = owner(&reader, Some((&keys, &site))).map(|header| header.node.to_string());
        assert_eq!(flash, node, "{case}: psyops flash");
        let why = crate::cli::why::node_of_image(path, &keys, &site);
        assert_eq!(why.ok().map(|name| name.to_string()), node, "{case}: psyops why");
    }
}

#[test]
fn without_keys_the_first_seal_of_the_highest_generation_names_the_owner() {
    let key = SigningKey::generate().unwrap();
    let fixture = fixture::image_of(&Recipe { node: "pi7", ..Recipe::plain(&key) });
    let reader = ImageReader::open(&fixture.image.path).unwrap();
    assert_eq!(owner(&reader, None).unwrap().node.as_str(), "pi7");
    assert_eq!(
        super::seals::highest([("a", 4), ("b", 4), ("c", 3)], |item| generation(item.1)).unwrap().0,
        "a"
    );
}

fn generation(number: u64) -> keys::seal::header::Generation {
    keys::seal::header::Generation::new(number).unwrap()
}
