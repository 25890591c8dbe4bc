//! Every known input of every fuzz target, and small changes of it, without the fuzzer: within 1 GiB of memory, and
//! without a panic.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What one process may map in bytes. The inputs are small; a reader that allocates what an input claims needs more.
const MEMORY: u64 = 1 << 30;
/// How many bytes all cuts and changes of an input read together, so that long inputs do not take minutes.
const BYTES: usize = 1 << 20;

/// The files of a folder of `fuzz/`, in the order of their names.
#[expect(clippy::disallowed_methods, reason = "it is sorted here")]
fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Says for which input a check failed.
fn checked(check: fn(&[u8]), input: &[u8], name: &dyn Fn() -> String) -> Result<()> {
    ensure!(catch_unwind(AssertUnwindSafe(|| check(input))).is_ok(), "{} fails, see the panic above", name());
    Ok(())
}

/// Gives the check of a target each file in its folder of `fuzz/corpus/`: as it is, and at each of some places cut there,
/// and with the byte there inverted, its lowest bit changed, and set to zero.
fn check_known_inputs(target: &str, check: fn(&[u8])) -> Result<()> {
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) })?;
    let inputs = files(&format!("corpus/{target}"))?;
    ensure!(!inputs.is_empty(), "no known input of {target}");
    for path in inputs {
        let input = fs::read(&path)?;
        checked(check, &input, &|| path.display().to_string())?;
        let places = (BYTES / input.len().max(1)).clamp(8, 256);
        for place in (0..input.len()).step_by(input.len().div_ceil(places).max(1)) {
            checked(check, &input[..place], &|| format!("{}, cut at byte {place}", path.display()))?;
            for byte in [!input[place], input[place] ^ 1, 0] {
                let mut changed = input.clone();
                changed[place] = byte;
                let name = || format!("{}, with {byte:#04x} at byte {place}", path.display());
                checked(check, &changed, &name)?;
            }
        }
    }
    Ok(())
}

macro_rules! targets {
    ($($target:ident),* $(,)?) => {
        $(#[test]
        fn $target() -> Result<()> {
            check_known_inputs(stringify!($target), fuzz_checks::$target::check)
        })*

        #[test]
        fn each_target_is_in_this_file_and_is_one_call() -> Result<()> {
            let paths = files("targets")?;
            let names: Vec<_> = paths.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
            assert_eq!(names, [$(stringify!($target)),*]);
            for (path, name) in paths.iter().zip(&names) {
                // Nothing but the call: the compiler sees the targets only in `make fuzz`.
                let call = format!("libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_checks::{name}::check(bytes));");
                assert_eq!(fs::read_to_string(path)?, format!("#![no_main]\n\n{call}\n"));
            }
            Ok(())
        }
    };
}

targets! {
    age_file,
    builder_text,
    device,
    esp,
    ext4,
    initramfs,
    layer,
    manifest,
    partition_table,
    payload,
    program,
    qcow2,
    records,
    report,
    seal,
    settings,
    squashfs,
    text,
    uki,
}
