//! Reading a binary age file (c2sp.org/age, version 1) for one X25519 identity: header, MAC and stream.
//!
//! The `age` crate does the key exchange. Its own reader is not used, because it brings a translation system and its
//! message catalogues with it: 250 KB in a loader of 880 KiB. Only the framing around the key is implemented here.
//! Files under a passphrase, with armor or of other versions are not read. The `age` program opens every one of these
//! files, too.

use crate::identity::NodeIdentity;
use age::Identity as _;
use age::secrecy::ExposeSecret as _;
use age_core::format::{FileKey, Stanza};
use age_core::primitives::hkdf;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chacha20poly1305::{AeadInPlace as _, ChaCha20Poly1305, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first line of an age file.
const VERSION_LINE: &[u8] = b"age-encryption.org/v1";
/// Characters of a full line of a stanza's body.
const COLUMNS: usize = 64;
/// Bytes of the nonce before the stream.
const NONCE: usize = 16;
/// Bytes of plain text in a chunk that is not the last.
const CHUNK: usize = 64 * 1024;
/// Bytes of a chunk's authentication tag.
const TAG: usize = 16;

/// Why a file does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFile {
    /// Not an age file of version 1, or a header that is not valid.
    NotAge,
    /// The file is not encrypted to this identity.
    NotForThisKey,
    /// The file is encrypted to this identity, but was changed or cut.
    Damaged,
}

/// Opens `file` with `identity`.
pub(crate) fn open(file: &[u8], identity: &NodeIdentity) -> Result<Zeroizing<Vec<u8>>, BadFile> {
    let header = Header::read(file).ok_or(BadFile::NotAge)?;
    let file_key = header.file_key(identity)?;
    let key = Zeroizing::new(hkdf(&[], b"header", file_key.expose_secret()));
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&*key).map_err(|_| BadFile::Damaged)?;
    mac.update(header.covered);
    mac.verify_slice(&header.mac).map_err(|_| BadFile::Damaged)?;
    let (nonce, stream) = header.rest.split_at_checked(NONCE).ok_or(BadFile::Damaged)?;
    decrypt(&Zeroizing::new(hkdf(nonce, b"payload", file_key.expose_secret())), stream)
}

/// The part before the stream.
struct Header<'f> {
    stanzas: Vec<Stanza>,
    /// The bytes that the MAC covers: everything up to and with its `---`.
    covered: &'f [u8],
    mac: Vec<u8>,
    rest: &'f [u8],
}

impl<'f> Header<'f> {
    fn read(file: &'f [u8]) -> Option<Self> {
        let (first, mut rest) = line(file)?;
        if first != VERSION_LINE {
            return None;
        }
        let mut stanzas = Vec::new();
        loop {
            let (content, after) = line(rest)?;
            if let Some(mac) = content.strip_prefix(b"--- ") {
                // The MAC does not cover its own line end and its own text with the space before it.
                let uncovered = after.len().checked_add(mac.len())?.checked_add(2)?;
                let covered = file.get(..file.len().checked_sub(uncovered)?)?;
                let mac = BASE64_STANDARD_NO_PAD.decode(mac).ok()?;
                return Some(Self { stanzas, covered, mac, rest: after });
            }
            let (stanza, after) = stanza(content, after)?;
            stanzas.push(stanza);
            rest = after;
        }
    }

    fn file_key(&self, identity: &NodeIdentity) -> Result<FileKey, BadFile> {
        let unwrapped = self.stanzas.iter().find_map(|stanza| identity.as_age().unwrap_stanza(stanza));
        unwrapped.ok_or(BadFile::NotForThisKey)?.map_err(|_| BadFile::Damaged)
    }
}

/// The bytes before the next line end, and those after it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.get(1..)?))
}

/// A stanza: `-> TYPE ARGUMENT...`, then its body in lines of 64 characters, of which the last one is shorter.
fn stanza<'f>(first: &[u8], mut rest: &'f [u8]) -> Option<(Stanza, &'f [u8])> {
    let words = std::str::from_utf8(first.strip_prefix(b"-> ")?).ok()?;
    let plain = |word: &str| !word.is_empty() && word.bytes().all(|byte| (33..=126).contains(&byte));
    if !words.split(' ').all(plain) {
        return None;
    }
    let mut words = words.split(' ').map(ToOwned::to_owned);
    let tag = words.next()?;
    let args = words.collect();
    let mut body = Vec::new();
    loop {
        let (content, after) = line(rest)?;
        body.extend_from_slice(content);
        rest = after;
        if content.len() > COLUMNS {
            return None;
        }
        if content.len() < COLUMNS {
            break;
        }
    }
    let body = BASE64_STANDARD_NO_PAD.decode(body).ok()?;
    Some((Stanza { tag, args, body }, rest))
}

/// The stream: chunks under ChaCha20-Poly1305, whose nonce counts them and marks the last one, so that chunks can be
/// neither swapped nor left out, and the end cannot be cut off.
fn decrypt(key: &[u8; 32], stream: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadFile> {
    let cipher = ChaCha20Poly1305::new(key.into());
    // Plain text is shorter than its encryption, so the buffer never moves and leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(stream.len()));
    let full = CHUNK.saturating_add(TAG);
    let mut chunks = stream.chunks(full).zip(0_u64..).peekable();
    if chunks.peek().is_none() {
        return Err(BadFile::Damaged);
    }
    while let Some((chunk, number)) = chunks.next() {
        let last = chunks.peek().is_none();
        let length = chunk.len().checked_sub(TAG).ok_or(BadFile::Damaged)?;
        // Only a file without content has an empty last chunk.
        if length == 0 && number > 0 {
            return Err(BadFile::Damaged);
        }
        let (content, tag) = chunk.split_at_checked(length).ok_or(BadFile::Damaged)?;
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().skip(3).zip(number.to_be_bytes()) {
            *to = from;
        }
        if let Some(flag) = nonce.last_mut() {
            *flag = u8::from(last);
        }
        let start = plain.len();
        plain.extend_from_slice(content);
        let target = plain.get_mut(start..).ok_or(BadFile::Damaged)?;
        cipher
            .decrypt_in_place_detached(&nonce.into(), &[], target, tag.into())
            .map_err(|_| BadFile::Damaged)?;
    }
    Ok(plain)
}

#[cfg(all(test, feature = "issue"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::issue::encryption::{decrypt as decrypt_with_age, encrypt};
    use crate::issue::identity_file::generate;

    #[test]
    fn files_of_age_are_read_at_every_length_around_a_chunk() {
        let (node, other) = (generate(), generate());
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17] {
            let plain: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let file = encrypt(&[other.recipient(), node.recipient()], &plain).unwrap();
            assert!(**open(&file, &node).unwrap() == *plain, "{length}");
            assert_eq!(open(&file, &generate()).unwrap_err(), BadFile::NotForThisKey);
        }
    }

    #[test]
    fn the_crate_and_this_reader_agree_on_every_flipped_byte_and_every_cut() {
        let node = generate();
        let file = encrypt(&[node.recipient()], b"content").unwrap();
        for position in 0..file.len() {
            for bit in [1, 0x80] {
                let mut bad = file.clone();
                bad[position] ^= bit;
                let here = open(&bad, &node);
                assert!(here.is_err(), "byte {position}");
                assert!(decrypt_with_age(&node, &bad).is_err(), "byte {position}");
            }
        }
        for length in 0..file.len() {
            assert!(open(&file[..length], &node).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn chunks_cannot_be_swapped_left_out_or_added() {
        let node = generate();
        let file = encrypt(&[node.recipient()], &vec![7; 3 * CHUNK]).unwrap();
        let full = CHUNK + TAG;
        let start = file.len() - 3 * full;
        let chunk = |number: usize| &file[start + number * full..start + (number + 1) * full];
        let with = |chunks: &[&[u8]]| [&file[..start], &chunks.concat()].concat();
        assert!(open(&with(&[chunk(0), chunk(1), chunk(2)]), &node).is_ok());
        for bad in [
            with(&[chunk(1), chunk(0), chunk(2)]),
            with(&[chunk(0), chunk(2)]),
            with(&[chunk(0), chunk(1)]),
            with(&[chunk(0), chunk(1), chunk(2), chunk(2)]),
            with(&[chunk(0), chunk(1), chunk(2), &[0; TAG]]),
            with(&[]),
        ] {
            assert_eq!(open(&bad, &node).unwrap_err(), BadFile::Damaged);
            assert!(decrypt_with_age(&node, &bad).is_err());
        }
    }

    #[test]
    fn a_missing_header_is_distinguished_from_damage() {
        let node = generate();
        let file = encrypt(&[node.recipient()], b"content").unwrap();
        for bad in [&b""[..], b"hello", b"age-encryption.org/v2\n", b"age-encryption.org/v1\n-> X25519"] {
            assert_eq!(open(bad, &node).unwrap_err(), BadFile::NotAge);
        }
        let mut damaged = file;
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(open(&damaged, &node).unwrap_err(), BadFile::Damaged);
    }
}
