//! Inputs just under the limits, each handled within the bounds of [`super::hostile_tests`]. They are large, so they run
//! with `cargo nextest run -p builder --release --run-ignored only -E 'test(limit_tests)'`; docs/hostile-inputs.md has what was
//! measured.

use super::hostile_tests::look;
use crate::limits;
use std::fs;

#[test]
#[ignore = "large inputs"]
fn a_boot_log_without_lines_and_one_of_lines() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for byte in [b"x", b"\n", b"\xff"] {
        let bytes = byte.repeat(limits::REPORT.in_memory());
        fs::write(file.path(), bytes).unwrap();
        assert_ne!(look("chart", file.path(), "").0, 0);
    }
}

#[test]
#[ignore = "large inputs"]
fn files_of_settings_and_keys_of_many_small_values() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["x = [".to_owned() + &"0,".repeat((1 << 19) - 8) + "]", "a.".repeat((1 << 19) - 8) + "a = 1"]
    {
        fs::write(folder.path().join("site.toml"), text).unwrap();
        assert_ne!(look("site", folder.path(), "").0, 0);
        assert_ne!(look("keys", &folder.path().join("site.toml"), "").0, 0);
    }
}
