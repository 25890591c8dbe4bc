//! Files that are known by their digest: compared with it when they are stored and again when they are read.

use super::error::GivenError;
use super::locked::LockedLayer;
use crate::input::{digest_of_file, digest_of_open_file, over};
use crate::limits;
use crate::store::{Store, StoreError};
use crate::tools::{self, ToolError, XZ};
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::path::Path;

/// How a compressed file begins.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const XZ_START: &[u8] = b"\xfd7zXZ\0";

/// Digest and size of a file of the site.
pub(super) fn digest(file: File, path: &Path) -> Result<(Sha256Digest, u64), GivenError> {
    let read = |source| GivenError::Read { path: path.to_owned(), source };
    let size = file.metadata().map_err(read)?.len();
    Ok((digest_of_open_file(file).map_err(read)?, size))
}

/// Puts a layer into the store: `bring` writes it to the place that it is given.
pub(super) fn keep(
    layer: &LockedLayer,
    store: &Store,
    bring: &dyn Fn(&Path) -> Result<(), GivenError>,
) -> Result<(), GivenError> {
    let scratch = store.scratch()?;
    let place = scratch.path().join("layer");
    bring(&place)?;
    publish(layer, &place, store)
}

/// Moves a layer that arrived to its place in the store, where it is what it should be.
pub(super) fn publish(layer: &LockedLayer, arrived: &Path, store: &Store) -> Result<(), GivenError> {
    let found = digest_of_file(arrived).map_err(|source| StoreError { path: arrived.to_owned(), source })?;
    if found != layer.sha256 {
        return Err(GivenError::WrongDigest { what: "the layer", expected: layer.sha256, found });
    }
    Ok(Store::publish(arrived, &store.blob(&layer.sha256))?)
}

/// A layer of the store as an open tar. One that was damaged there is removed, so that it is fetched anew.
pub(super) fn open_kept(layer: &LockedLayer, store: &Store) -> Result<File, GivenError> {
    let path = store.blob(&layer.sha256);
    let file = File::open(&path).map_err(|source| GivenError::Read { path: path.clone(), source })?;
    open(file, &path, &layer.sha256, store).map_err(|error| match error {
        GivenError::WrongDigest { .. } => {
            // Where it stays, the next build says the same again.
            let _ = fs::remove_file(&path);
            GivenError::DamagedLayer { layer: layer.sha256 }
        }
        other => other,
    })
}

/// A file with this digest as an open tar that has no name, and which nobody else can change.
pub(super) fn open(
    mut file: File,
    path: &Path,
    expected: &Sha256Digest,
    store: &Store,
) -> Result<File, GivenError> {
    let read = |source| GivenError::Read { path: path.to_owned(), source };
    let (mut copy, mut hasher) = (nameless(store)?, Sha256::new());
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        let bytes = &buffer[..count];
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        copy.write_all(bytes).map_err(|source| in_store(store, source))?;
    }
    let found = Sha256Digest::from_bytes(hasher.finalize().into());
    if found != *expected {
        return Err(GivenError::WrongDigest { what: "the file", expected: *expected, found });
    }
    copy.rewind().map_err(|source| in_store(store, source))?;
    unpacked(copy, path, store)
}

/// The same without compression. What a file is, it says itself: names and media types are often wrong.
fn unpacked(mut file: File, path: &Path, store: &Store) -> Result<File, GivenError> {
    let stored = |source| in_store(store, source);
    let mut start = Vec::new();
    Read::by_ref(&mut file).take(6).read_to_end(&mut start).map_err(stored)?;
    file.rewind().map_err(stored)?;
    let damaged = |source| GivenError::Unpack { path: path.to_owned(), source };
    let mut out = nameless(store)?;
    if start.starts_with(GZIP) {
        copy(flate2::read::MultiGzDecoder::new(file), &mut out).map_err(damaged)?;
    } else if start.starts_with(ZSTD) {
        copy(zstd::Decoder::new(file).map_err(damaged)?, &mut out).map_err(damaged)?;
    } else if start == XZ_START {
        unpack_xz(file, &out)?;
    } else {
        return Ok(file);
    }
    out.rewind().map_err(stored)?;
    Ok(out)
}

/// Unpacks, up to what a root may have: a few bytes can stand for any number of zeros.
fn copy(from: impl Read, to: &mut File) -> io::Result<()> {
    let limit = &limits::LAYER;
    let length = io::copy(&mut from.take(limit.most.saturating_add(1)), to)?;
    limit.check(length).map(drop).map_err(over)
}

fn unpack_xz(file: File, out: &File) -> Result<(), GivenError> {
    let mut command = XZ.command()?;
    let start = |source| ToolError::Start { program: XZ.name.into(), source };
    command.args(["--decompress", "--stdout"]).stdin(file).stdout(out.try_clone().map_err(start)?);
    tools::run_heard(&mut command, |_| ())?;
    Ok(())
}

fn nameless(store: &Store) -> Result<File, GivenError> {
    tempfile::tempfile_in(store.dir().join("tmp")).map_err(|source| in_store(store, source))
}

fn in_store(store: &Store, source: io::Error) -> GivenError {
    StoreError { path: store.dir().join("tmp"), source }.into()
}
