//! The pieces to read of the images, in the order of the sticks: a piece that several sticks get is read once.

use super::source::Source;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// A piece, and the sticks that get it.
#[derive(Debug, Clone)]
pub(super) struct Portion<'p, S> {
    /// The range of the piece.
    pub(super) range: Range<u64>,
    /// The image from which it is read; any image that has it will do.
    pub(super) source: Source<'p>,
    /// The sticks that get it.
    pub(super) sticks: Vec<S>,
}

/// The pieces to read, in the order of the sticks. `wanted` has each stick with its image and its pieces: the parts
/// that images share in one file are read once for all of them.
pub(super) fn portions<'p, S: Copy>(
    wanted: impl IntoIterator<Item = (S, Source<'p>, &'p [Range<u64>])>,
) -> Vec<Portion<'p, S>> {
    let mut portions: BTreeMap<(u64, u64, &Path), Portion<'p, S>> = BTreeMap::new();
    for (stick, source, pieces) in wanted {
        for range in pieces {
            let shared = source.storage.shared().filter(|_| source.storage.is_all_shared(range));
            let portion = portions
                .entry((range.start, range.end, shared.unwrap_or(source.path)))
                .or_insert_with(|| Portion { range: range.clone(), source, sticks: Vec::new() });
            portion.sticks.push(stick);
        }
    }
    portions.into_values().collect()
}
