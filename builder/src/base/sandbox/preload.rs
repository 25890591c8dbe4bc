//! The library that gives programs a fixed clock and seeded random numbers (crate `preload`), adapted for this sandbox.
//!
//! ld.so(8) loads the libraries in `/etc/ld.so.preload` into every dynamically linked program, whatever its
//! environment. The sandbox has that file, and so has the root that is made in it, until the root is packed.

use super::SandboxError;
use ::preload::{MARK, Parameters, SIZE};
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use std::env;

/// The library, built by `build.rs`.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload.so"));

/// Hooks of mmdebstrap(1) that give the root's own programs the library, and take it away again. A line that a package
/// wrote into the file stays there.
pub(in crate::base) const INTO_ROOT: &str = "--setup-hook=mkdir -p \"$1/dev\" \"$1/etc\"; cp /dev/psyops-preload.so \"$1/dev/\"; echo /dev/psyops-preload.so >>\"$1/etc/ld.so.preload\"";
pub(in crate::base) const OUT_OF_ROOT: &str = "--customize-hook=sed -i '\\#^/dev/psyops-preload.so$#d' \"$1/etc/ld.so.preload\"; [ -s \"$1/etc/ld.so.preload\" ] || rm \"$1/etc/ld.so.preload\"; rm \"$1/dev/psyops-preload.so\"";

/// The library with this time, and the first eight bytes of this seed.
///
/// # Errors
///
/// If programs for `architecture` do not run on this machine.
pub(super) fn library(
    architecture: &'static Architecture,
    seed: &Sha256Digest,
    time: u64,
) -> Result<Vec<u8>, SandboxError> {
    let other = SandboxError::Architecture { wanted: architecture.name, own: env::consts::ARCH };
    if architecture.rust != env::consts::ARCH {
        return Err(other);
    }
    let parameters = Parameters { time, seed: start_of(seed) };
    let mut library = LIBRARY.to_vec();
    let at = library.windows(MARK.len()).position(|window| window == MARK);
    let place = at.and_then(|at| library.get_mut(at..at + SIZE)).ok_or(other)?;
    place.copy_from_slice(&parameters.to_bytes());
    Ok(library)
}

fn start_of(seed: &Sha256Digest) -> u64 {
    seed.as_bytes().iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classified as _;
    use handoff::architecture::{ARM64, X86_64};
    use object::read::elf::{Dyn as _, ElfFile64};
    use object::{LittleEndian, Object as _, ObjectSymbol as _};

    #[test]
    fn the_library_needs_nothing_but_the_error_number_of_the_c_library() {
        let file = object::File::parse(LIBRARY).unwrap();
        let (missing, mut there): (Vec<_>, Vec<_>) =
            file.dynamic_symbols().partition(object::Symbol::is_undefined);
        let names = |symbols: &[object::Symbol<'_, '_>]| -> Vec<String> {
            symbols.iter().map(|symbol| symbol.name().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&missing), ["__errno_location"]);
        there.sort_by_key(|symbol| symbol.name().unwrap());
        let expected = "arc4random arc4random_buf arc4random_uniform clock_gettime clock_nanosleep ftime getentropy \
                        getrandom gettimeofday nanosleep sleep time timespec_get usleep";
        assert_eq!(names(&there).join(" "), expected);
        let elf = ElfFile64::<LittleEndian>::parse(LIBRARY).unwrap();
        let (entries, _) = elf.elf_section_table().dynamic(LittleEndian, LIBRARY).unwrap().unwrap();
        assert!(entries.iter().all(|entry| entry.d_tag(LittleEndian) != object::elf::DT_NEEDED));
    }

    #[test]
    fn time_and_seed_are_put_where_the_mark_is_and_nowhere_else() {
        let seed = Sha256Digest::of(b"lock");
        let library = library(&X86_64, &seed, 1_793_491_200).unwrap();
        let marks = library.windows(MARK.len()).filter(|window| *window == MARK).count();
        let at = library.windows(MARK.len()).position(|window| window == MARK).unwrap();
        assert_eq!((library.len(), marks), (LIBRARY.len(), 1));
        assert_eq!(library[at + 16..at + 24], 1_793_491_200_u64.to_le_bytes());
        assert_eq!(library[at + 24..at + 32], seed.as_bytes()[..8]);
        assert_eq!((&library[..at], &library[at + 32..]), (&LIBRARY[..at], &LIBRARY[at + 32..]));
    }

    #[test]
    fn scripts_for_another_processor_are_not_run() {
        let error = library(&ARM64, &Sha256Digest::of(b"lock"), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the maintainer scripts of packages are programs for arm64, and this builder runs on x86_64"
        );
        assert_eq!(error.own_advice().unwrap(), "build on a machine with that processor");
    }
}
