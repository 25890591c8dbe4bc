//! Files that are known by their digest, which is compared when they are stored and again when they are read.

use super::error::ImportError;
use super::locked::LockedLayer;
use crate::input::{digest_of_file, digest_of_open_file, over};
use crate::limits::{self, Limit};
use crate::store::{Store, StoreError};
use crate::tool_output;
use crate::tools::{self, XZ};
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;

/// The first bytes of a compressed file.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const XZ_START: &[u8] = b"\xfd7zXZ\0";

/// The largest window of a zstd frame: 128 MiB, the most that the program zstd uses without `--long=28` or more.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The bytes of memory that xz may use to unpack; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 192 << 20;

/// The digest and the size in bytes of a file of the site.
pub(super) fn digest(file: File, path: &Path) -> Result<(Sha256Digest, u64), ImportError> {
    let read = |source| ImportError::Read { path: path.to_owned(), source };
    let size = file.metadata().map_err(read)?.len();
    Ok((digest_of_open_file(file).map_err(read)?, size))
}

/// Puts a layer into the store: `bring` writes it to the path that it is given.
pub(super) fn keep(
    layer: &LockedLayer,
    store: &Store,
    bring: &dyn Fn(&Path) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let scratch = store.scratch()?;
    let place = scratch.path().join("layer");
    bring(&place)?;
    publish(layer, &place, store)
}

/// Moves a fetched layer to its place in the store, if its digest and size are right.
pub(super) fn publish(layer: &LockedLayer, arrived: &Path, store: &Store) -> Result<(), ImportError> {
    let found = digest_of_file(arrived).map_err(|source| StoreError { path: arrived.to_owned(), source })?;
    if found != layer.sha256 {
        return Err(ImportError::WrongDigest { what: "the layer", expected: layer.sha256, found });
    }
    Ok(Store::publish(arrived, &store.blob(&layer.sha256))?)
}

/// A layer of the store as an open tar. A layer that was damaged there is removed, so that it is fetched again.
pub(super) fn open_kept(layer: &LockedLayer, store: &Store) -> Result<File, ImportError> {
    let path = store.blob(&layer.sha256);
    let file = File::open(&path).map_err(|source| ImportError::Read { path: path.clone(), source })?;
    open(file, &path, &layer.sha256, store).map_err(|error| match error {
        ImportError::WrongDigest { .. } => {
            // If it cannot be removed, the next build reports the same error.
            let _ = fs::remove_file(&path);
            ImportError::DamagedLayer { layer: layer.sha256 }
        }
        other => other,
    })
}

/// A file with this digest as an open tar without a name, which no other process can change.
pub(super) fn open(
    mut file: File,
    path: &Path,
    expected: &Sha256Digest,
    store: &Store,
) -> Result<File, ImportError> {
    let read = |source| ImportError::Read { path: path.to_owned(), source };
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
        return Err(ImportError::WrongDigest { what: "the file", expected: *expected, found });
    }
    copy.rewind().map_err(|source| in_store(store, source))?;
    unpacked(copy, path, store)
}

/// The same file, decompressed. Its first bytes tell the format: names and media types are often wrong.
fn unpacked(file: File, path: &Path, store: &Store) -> Result<File, ImportError> {
    unpacked_within(file, path, store, &limits::LAYER)
}

fn unpacked_within(
    mut file: File,
    path: &Path,
    store: &Store,
    limit: &'static Limit,
) -> Result<File, ImportError> {
    let stored = |source| in_store(store, source);
    let mut start = Vec::new();
    Read::by_ref(&mut file).take(6).read_to_end(&mut start).map_err(stored)?;
    file.rewind().map_err(stored)?;
    let damaged = |source| ImportError::Unpack { path: path.to_owned(), source };
    let mut out = nameless(store)?;
    if start.starts_with(GZIP) {
        copy(flate2::read::MultiGzDecoder::new(file), &mut out, limit).map_err(damaged)?;
    } else if start.starts_with(ZSTD) {
        let mut decoder = zstd::Decoder::new(file).map_err(damaged)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged)?;
        copy(decoder, &mut out, limit).map_err(damaged)?;
    } else if start == XZ_START {
        unpack_xz(file, path, &mut out, limit)?;
    } else {
        return Ok(file);
    }
    out.rewind().map_err(stored)?;
    Ok(out)
}

/// Decompresses, up to the limit for a root: a few bytes can expand to any number of zeros.
fn copy(from: impl Read, to: &mut File, limit: &'static Limit) -> io::Result<()> {
    let length = io::copy(&mut from.take(limit.most.saturating_add(1)), to)?;
    limit.check(length).map(drop).map_err(over)
}

fn unpack_xz(file: File, path: &Path, out: &mut File, limit: &'static Limit) -> Result<(), ImportError> {
    let mut command = XZ.command()?;
    command.args(["--decompress", "--stdout"]).arg(format!("--memlimit-decompress={XZ_MEMORY}"));
    let running = tools::start(command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (copied, complaint) = tool_output::listen(&running, |unpacked| copy(unpacked, out, limit));
    let failed = |source| ImportError::Unpack { path: path.to_owned(), source };
    copied.map_err(failed)?;
    if String::from_utf8_lossy(&complaint).contains("Memory usage limit reached") {
        let problem = format!("xz would need more than {} MiB of memory for it", XZ_MEMORY >> 20);
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    running.check(Vec::new(), complaint)?;
    Ok(())
}

fn nameless(store: &Store) -> Result<File, ImportError> {
    tempfile::tempfile_in(store.dir().join("tmp")).map_err(|source| in_store(store, source))
}

fn in_store(store: &Store, source: io::Error) -> ImportError {
    StoreError { path: store.dir().join("tmp"), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Classified as _};

    static LITTLE: Limit = Limit { what: "the unpacked layer", most: 1000, unit: "bytes", because: "a test" };

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut command = XZ.command().unwrap();
        tools::output(command.arg("--stdout").stdin(file)).unwrap().stdout
    }

    fn problem(bytes: &[u8], limit: &'static Limit) -> String {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let error = unpacked_within(file, Path::new("layer"), &store, limit).err().unwrap();
        assert_eq!(error.class(), Class::BadContent, "{error}");
        error.to_string()
    }

    #[test]
    fn a_layer_is_not_unpacked_beyond_the_limit_with_any_compression() {
        let zeros = [0; 5000];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&zeros).unwrap();
        for bytes in [gzip.finish().unwrap(), zstd::encode_all(zeros.as_slice(), 1).unwrap(), xz(&zeros)] {
            assert_eq!(
                problem(&bytes, &LITTLE),
                "cannot unpack layer: the unpacked layer has 1001 bytes, more than the limit of 1000 bytes (a test)"
            );
        }
    }

    #[test]
    fn a_layer_does_not_choose_how_much_memory_unpacking_takes() {
        // Section 3.1 of the xz format: the fifth byte of the block header is the size of the dictionary, the last four
        // a CRC32.
        let mut packed = xz(b"hello");
        packed[16] = 40;
        let length = usize::from(packed[12]) * 4;
        let mut sum = flate2::Crc::new();
        sum.update(&packed[12..12 + length]);
        packed[12 + length..16 + length].copy_from_slice(&sum.sum().to_le_bytes());
        assert_eq!(
            problem(&packed, &limits::LAYER),
            "cannot unpack layer: xz would need more than 192 MiB of memory for it"
        );
        // RFC 8878, section 3.1.1.1.2: a window of 2 GiB, then one empty block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
        assert_eq!(
            problem(&frame, &limits::LAYER),
            "cannot unpack layer: Frame requires too much memory for decoding"
        );
    }
}
