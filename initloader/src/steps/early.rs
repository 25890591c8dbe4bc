//! Step `early`: the kernel's own file systems, the command line, the clock, and the loader configuration.

use crate::boot::Boot;
use crate::clock::{self, WallClock};
use crate::failure::{FailureKind, StepError};
use crate::mounts::{self, DATA_ONLY, MountError};
use handoff::kernel_arguments::KernelArguments;
use handoff::loader_config::{BadLoaderConfig, LoaderConfig};
use handoff::{marker, paths};
use nix::mount::MsFlags;
use std::path::Path;
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Errors of the step `early`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EarlyError {
    /// A file system of the kernel cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The initramfs was not unpacked completely.
    #[error("the initramfs is incomplete: {} is missing", paths::INITRAMFS_END)]
    Truncated,
    /// The loader configuration cannot be read.
    #[error("{path}: {0}", path = paths::TRUST)]
    NoTrust(std::io::Error),
    /// The loader configuration is not valid.
    #[error(transparent)]
    LoaderConfig(#[from] BadLoaderConfig),
}

impl StepError for EarlyError {
    fn kind(&self) -> FailureKind {
        FailureKind::Initramfs
    }

    fn remedy(&self) -> String {
        match self {
            Self::Mount(_) => "start the other slot; this kernel lacks what the system needs",
            Self::Truncated => "give the machine more memory, or write the image again",
            Self::NoTrust(_) | Self::LoaderConfig(_) => {
                "build the image again; the loader settings in this one are not valid"
            }
        }
        .into()
    }
}

/// Mounts the file systems that logging needs. Those that are mounted already (after a rescue shell) stay.
pub(crate) fn mount() -> Result<(), EarlyError> {
    let devices = MsFlags::MS_NOSUID;
    for (kind, place, flags, options) in [
        ("proc", "/proc", DATA_ONLY, ""),
        ("sysfs", "/sys", DATA_ONLY, ""),
        ("devtmpfs", "/dev", devices, "mode=0755"),
        ("tmpfs", "/run", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV), "mode=0755"),
    ] {
        if !mounts::is_mounted(place) {
            mounts::mount(kind, place, kind, flags, options)?;
        }
    }
    let _ = std::fs::create_dir(paths::RUN);
    // The kernel drops log messages that come too quickly; this keeps the loader's.
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on");
    Ok(())
}

/// Runs the step `early`.
pub(crate) fn run(boot: &mut Boot, mounted: Result<(), EarlyError>) -> Result<LoaderConfig, EarlyError> {
    boot.log.marked(marker::LOADER, env!("CARGO_PKG_VERSION"));
    mounted?;
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    boot.arguments = KernelArguments::parse(line.trim());
    boot.log.set_level(&boot.arguments);
    if !Path::new(paths::INITRAMFS_END).exists() {
        return Err(EarlyError::Truncated);
    }
    let text = std::fs::read_to_string(paths::TRUST).map_err(EarlyError::NoTrust)?;
    let trust = LoaderConfig::decode(&text)?;
    boot.policy = trust.policy.clone();
    boot.rescue = trust.rescue.clone();
    boot.report.site = Some(trust.site.to_string());
    boot.report.release = Some(trust.release.to_string());
    boot.report.security_epoch = Some(trust.security_epoch.into());
    boot.log.info(&format!("site {}, release {}", trust.site, trust.release));
    match clock::at_least(trust.build_time) {
        Ok(WallClock::Kept) => {}
        Ok(WallClock::SetToBuildTime) => {
            boot.log.info("the clock was before the build time of this system; set to the build time");
        }
        Err(error) => boot.log.error(&format!("the clock cannot be set: {}", error.desc())),
    }
    Ok(trust)
}
