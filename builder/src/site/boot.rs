//! `[boot]` of `site.toml`: how nodes start, and how they react to faults.

use super::error::SiteError;
use super::raw::RawBoot;
use super::settings::BootPolicy;
use super::source::Source;
use super::value::{positive, required};
use handoff::control;
use handoff::fault::{Fault, FaultAction, Policy};
use handoff::manifest::Required;
use handoff::verity::OnCorruption;

pub(super) fn boot(source: &Source, raw: RawBoot) -> Result<BootPolicy, SiteError> {
    let tries = positive(source, "tries", raw.tries, control::DEFAULT_TRIES)?;
    let mut faults = Policy::default();
    let kinds = Fault::ALL.map(|fault| (fault.name(), fault));
    let actions = FaultAction::ALL.map(|action| (action.name(), action));
    for (typed_fault, typed_action) in &raw.faults {
        let fault = source.word("a fault", typed_fault, &kinds)?;
        let action = source.word("an action", typed_action, &actions)?;
        if let Some(why) = fault.refusal(action) {
            let at = source.at(&typed_action.span());
            return Err(SiteError::ActionWithoutEffect { at, fault, action, why });
        }
        faults.set(fault, action);
    }
    let overlay_size = match raw.overlay_size {
        None => "50%".to_owned(),
        Some(typed) => {
            let text = typed.get_ref();
            let digits = text.strip_suffix(['%', 'k', 'm', 'g']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(source.wrong(
                    "overlay-size",
                    &typed,
                    "expected a number with k, m, g or %, as in tmpfs(5)",
                ));
            }
            typed.into_inner()
        }
    };
    let required = raw.required.as_ref().map(|typed| required(source, typed)).transpose()?;
    let ways = OnCorruption::ALL.map(|way| (way.name(), way));
    let root_corruption = raw.root_corruption.as_ref();
    let root_corruption =
        root_corruption.map(|typed| source.word("root-corruption", typed, &ways)).transpose()?;
    let mut arguments = Vec::new();
    for typed in raw.arguments {
        if typed.get_ref().is_empty() || typed.get_ref().contains(char::is_control) {
            return Err(source.wrong(
                "arguments",
                &typed,
                "expected a word of the kernel command line, not empty and without control characters",
            ));
        }
        arguments.push(typed.into_inner());
    }
    Ok(BootPolicy {
        tries,
        faults,
        overlay_size,
        root_corruption: root_corruption.unwrap_or_default(),
        identity_deadline: positive(source, "identity-deadline", raw.identity_deadline, 30)?,
        remove_unknown: raw.remove_unknown,
        required: required.unwrap_or(Required::Boot),
        arguments,
    })
}
