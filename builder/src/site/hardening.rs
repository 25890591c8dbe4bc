//! `[hardening]` of `site.toml`: how nodes keep their users apart from the kernel and from each other.

use super::error::SiteError;
use super::raw::RawHardening;
use super::source::Source;
use handoff::hardening::{Hardening, Modules, Trace, Who};
use toml::Spanned;

/// Who may do what root cannot be kept from.
const ALL_OR_ROOT: &[(&str, Who)] = &[("all", Who::All), ("root", Who::Root)];

/// What was typed, understood.
pub(super) fn hardening(source: &Source, raw: &RawHardening) -> Result<Hardening, SiteError> {
    let default = Hardening::default();
    let word = Words { source };
    Ok(Hardening {
        kernel_log: word.of("kernel-log", raw.kernel_log.as_ref(), ALL_OR_ROOT, default.kernel_log)?,
        kernel_addresses: word.of(
            "kernel-addresses",
            raw.kernel_addresses.as_ref(),
            Who::WORDS,
            default.kernel_addresses,
        )?,
        trace: word.of("trace", raw.trace.as_ref(), Trace::WORDS, default.trace)?,
        user_namespaces: word.of(
            "user-namespaces",
            raw.user_namespaces.as_ref(),
            Who::WORDS,
            default.user_namespaces,
        )?,
        bpf: word.of("bpf", raw.bpf.as_ref(), ALL_OR_ROOT, default.bpf)?,
        modules: word.of("modules", raw.modules.as_ref(), Modules::WORDS, default.modules)?,
    })
}

struct Words<'s> {
    source: &'s Source,
}

impl Words<'_> {
    fn of<T: Copy>(
        &self,
        key: &'static str,
        typed: Option<&Spanned<String>>,
        choices: &[(&str, T)],
        default: T,
    ) -> Result<T, SiteError> {
        typed.map_or(Ok(default), |typed| self.source.word(key, typed, choices))
    }
}
