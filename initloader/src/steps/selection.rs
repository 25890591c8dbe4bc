//! Step `selection`: reads the selector's decision about this start from the EFI variables that it set.
//!
//! Without them (direct kernel boot, network boot) the boot goes on with the only disk that matches.

use crate::boot::Boot;
use crate::efivar;
use crate::failure::{FailureKind, StepError};
use crate::mounts::{self, DATA_ONLY};
use handoff::guid::Guid;
use handoff::selection::{self, Selection};
use handoff::shown::Shown;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

/// How long the step may take: some firmware answers slowly.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The longest plausible time in the firmware, in microseconds (an hour).
const MOST_FIRMWARE_TIME: u64 = 3_600_000_000;

impl StepError for Infallible {
    fn kind(&self) -> FailureKind {
        match *self {}
    }

    fn remedy(&self) -> String {
        match *self {}
    }
}

/// Runs the step `selection`; returns the GUID of the ESP that the selector was started from.
#[expect(clippy::unnecessary_wraps, reason = "all steps have one form")]
pub(crate) fn run(boot: &mut Boot) -> Result<Option<Guid>, Infallible> {
    let folder = Path::new(efivar::FOLDER);
    if !folder.exists() {
        boot.log.info("this machine was not started by UEFI firmware, so no slot is known");
        return Ok(None);
    }
    if let Err(error) = mounts::mount("efivarfs", efivar::FOLDER, "efivarfs", DATA_ONLY, "") {
        boot.log.error(&error.to_string());
        return Ok(None);
    }
    let esp = efivar::read(folder, efivar::DEVICE_PART_UUID, efivar::BOOT_LOADER_VENDOR);
    let said = efivar::read(folder, selection::VARIABLE, selection::VENDOR_GUID);
    let [began, ended] = efivar::TIMES.map(|name| {
        efivar::read(folder, name, efivar::BOOT_LOADER_VENDOR).and_then(|value| efivar::number(&value))
    });
    // A counter that did not start with the machine (after kexec, on some firmware) has no meaning.
    let began = began.filter(|&microseconds| microseconds < MOST_FIRMWARE_TIME);
    boot.report.firmware_ms = began.map(|microseconds| microseconds / 1000);
    boot.report.selector_ms = began.zip(ended).map(|(began, ended)| ended.saturating_sub(began) / 1000);
    if let Err(error) = mounts::unmount(efivar::FOLDER) {
        boot.log.error(&error.to_string());
    }
    boot.selection = said.and_then(|value| Selection::decode(std::str::from_utf8(&value).ok()?));
    if let Some(selection) = &boot.selection {
        boot.report.slot = Some(selection.slot.to_string());
        boot.report.selected = Some(selection.reason.clone());
        boot.report.tries_left = Some(u64::from(selection.tries_left));
        let counted = if selection.counted { "" } else { ", NOT counted (read-only medium?)" };
        boot.log.info(&format!(
            "the selector chose slot {} ({}), tries left: {}{counted}",
            selection.slot, selection.reason, selection.tries_left
        ));
    }
    let esp = esp.and_then(|value| efivar::utf16(&value)).map(|text| (text.parse(), text));
    if let Some((Err(error), text)) = &esp {
        boot.log.error(&format!("the EFI variable {} is {}: {error}", efivar::DEVICE_PART_UUID, Shown(text)));
    }
    Ok(esp.and_then(|(guid, _)| guid.ok()))
}
