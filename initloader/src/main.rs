//! `/init` of the psyopsOS initramfs.

use std::process::ExitCode;

fn main() -> ExitCode {
    initloader::main()
}
