//! Searching a stream for the bytes of secret keys, in each form in which a text or program may have them.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use std::collections::BTreeMap;
use std::io::{self, Read};
use zeroize::Zeroizing;

/// How many bytes of a stream are searched at once.
pub(super) const PIECE: usize = 1 << 18;
/// How far pieces overlap: no key is longer, so none is missed between two pieces.
pub(super) const OVERLAP: usize = 1 << 14;
/// The number of first bytes by which forms are looked up; each form is longer.
const START: usize = 4;

/// Forms of secret bytes, each with the description of its key.
#[derive(Default)]
pub(super) struct Needles {
    forms: Vec<(Zeroizing<Vec<u8>>, usize)>,
    names: Vec<String>,
    by_start: BTreeMap<[u8; START], Vec<usize>>,
}

/// The first two bytes of everything that is searched for: these two bytes are enough to rule out most places of a
/// stream.
pub(super) struct Starts(Vec<bool>);

impl Needles {
    /// Adds bytes that only a holder of the key has, at least 32: as they are, in hexadecimal, and in base64 (RFC 4648,
    /// sections 4 and 5) at each of the three alignments in a longer text.
    pub(super) fn add(&mut self, bytes: &[u8], key: &str) {
        let number = self.names.len();
        self.names.push(key.to_owned());
        let hexadecimal: Zeroizing<String> =
            Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        self.add_form(bytes, number);
        self.add_form(hexadecimal.to_uppercase().as_bytes(), number);
        self.add_form(hexadecimal.as_bytes(), number);
        for skipped in 0..3 {
            // Only characters whose bits all belong to the key: three bytes are four characters.
            let rest = bytes.get(skipped..).unwrap_or_default();
            let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
            for alphabet in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                let text = Zeroizing::new(alphabet.encode(whole));
                self.add_form(text.as_bytes(), number);
            }
        }
    }

    fn add_form(&mut self, form: &[u8], key: usize) {
        if let Some(start) = form.first_chunk::<START>() {
            self.by_start.entry(*start).or_default().push(self.forms.len());
            self.forms.push((Zeroizing::new(form.to_vec()), key));
        }
    }

    /// The first bytes of all forms and of `others`.
    pub(super) fn starts(&self, others: &[&[u8]]) -> Starts {
        let mut starts = vec![false; 1 << 16];
        for bytes in self.forms.iter().map(|(form, _)| form.as_slice()).chain(others.iter().copied()) {
            if let Some(pair) = bytes.first_chunk::<2>() {
                starts[usize::from(u16::from_be_bytes(*pair))] = true;
            }
        }
        Starts(starts)
    }

    /// The description of the key that `bytes` begin with, in one of its forms.
    pub(super) fn at(&self, bytes: &[u8]) -> Option<&str> {
        let forms = self.by_start.get(bytes.first_chunk::<START>()?)?;
        let found = forms.iter().filter_map(|form| self.forms.get(*form));
        let (_, key) = found.into_iter().find(|(form, _)| bytes.starts_with(form))?;
        self.names.get(*key).map(String::as_str)
    }
}

/// Calls `at` at each place of a stream where a form may begin, until it returns something; returns the place and the
/// result. `at` gets the bytes from there on: at least [`OVERLAP`] of them, or all that are left.
pub(super) fn find<T>(
    mut stream: impl Read,
    starts: &Starts,
    at: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<(u64, T)>> {
    let mut window = Zeroizing::new(Vec::with_capacity(PIECE + OVERLAP));
    let mut before = 0_u64;
    loop {
        let missing = (PIECE + OVERLAP - window.len()) as u64;
        stream.by_ref().take(missing).read_to_end(&mut window)?;
        let is_last = window.len() < PIECE + OVERLAP;
        let places = window.windows(2).enumerate();
        let places = places.filter(|(_, pair)| starts.0[usize::from(u16::from_be_bytes([pair[0], pair[1]]))]);
        let found = places.into_iter().find_map(|(place, _)| Some((place, at(&window[place..])?)));
        if let Some((place, answer)) = found {
            return Ok(Some((before + place as u64, answer)));
        }
        if is_last {
            return Ok(None);
        }
        window.drain(..PIECE);
        before += PIECE as u64;
    }
}
