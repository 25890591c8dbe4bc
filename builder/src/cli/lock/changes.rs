//! The changes of a lock for people and for programs.

use crate::base::changes::{ChangeKind, Changes, PackageChange, SetState, VariantChanges};
use crate::site::Site;
use handoff::name::Name;
use serde_json::{Value, json};

/// A line for each package, the site's first; empty if no package changes.
pub(super) fn to_text(changes: &Changes, site: &Site) -> String {
    let mut text = String::new();
    if let Some(base) = &changes.base {
        let shown = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
        text.push_str(&format!("base {}: {} -> {}\n", base.name, shown(&base.before), shown(&base.after)));
    }
    if !changes.site.is_empty() {
        text.push_str("packages of all nodes:\n");
        text.extend(changes.site.iter().map(line));
    }
    for variant in &changes.variants {
        text.push_str(&heading(variant, site));
        text.extend(variant.packages.iter().map(line));
    }
    text
}

fn heading(variant: &VariantChanges, site: &Site) -> String {
    let wanted = variant.wanted.join(", ");
    let nodes = names(&nodes_with(site, &variant.wanted)).join(", ");
    match variant.state {
        SetState::New if variant.packages.is_empty() => {
            format!("new: with {wanted} ({nodes}): nothing besides the packages of all nodes\n")
        }
        SetState::New => format!("new: with {wanted} ({nodes}), besides the packages of all nodes:\n"),
        SetState::Kept => format!("with {wanted} ({nodes}):\n"),
        SetState::Gone => format!("gone: with {wanted}, which no node lists any more\n"),
    }
}

/// A line that is indented by one space: with two, it would be a line of progress, which a terminal replaces by the
/// next.
fn line(change: &PackageChange) -> String {
    let (before, after) =
        (change.before.as_deref().unwrap_or_default(), change.after.as_deref().unwrap_or_default());
    let size = change.size.map_or_else(String::new, |size| format!(" ({})", readable(size)));
    let name = &change.name;
    match change.kind {
        ChangeKind::Added => format!(" added      {name} {after}{size}\n"),
        ChangeKind::Removed => format!(" removed    {name} {before}\n"),
        ChangeKind::Upgraded => format!(" upgraded   {name} {before} -> {after}{size}\n"),
        ChangeKind::Downgraded => format!(" downgraded {name} {before} -> {after}{size}\n"),
        ChangeKind::Replaced => format!(" replaced   {name} {after}, another file{size}\n"),
    }
}

/// How many packages change, and how many bytes that fetches.
pub(super) fn count(changes: &Changes, fetch: u64) -> String {
    let packages = match changes.count() {
        0 => "no package changes, only the settings that they were chosen for".to_owned(),
        1 => "1 package changes".to_owned(),
        more => format!("{more} packages change"),
    };
    let fetch = if fetch == 0 { "nothing".to_owned() } else { readable(fetch) };
    format!("{packages}; {fetch} to fetch")
}

/// A size in a readable unit; the exact size is only in JSON.
fn readable(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} bytes"),
        0x400..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => {
            let tenths = bytes.saturating_mul(10) >> 20;
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

/// The nodes that want these packages beyond the site's.
pub(super) fn nodes_with<'a>(site: &'a Site, wanted: &[String]) -> Vec<&'a Name> {
    let mut sets = site.other_sets().into_iter();
    let found = sets.find(|(set, _)| set.beyond(&site.packages.extra) == wanted);
    found.map(|(_, nodes)| nodes).unwrap_or_default()
}

pub(super) fn names(nodes: &[&Name]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}

/// All changes as JSON.
pub(super) fn to_json(changes: &Changes, site: &Site) -> Value {
    let variants = changes.variants.iter().map(|variant| {
        json!({
            "wanted": variant.wanted,
            "nodes": names(&nodes_with(site, &variant.wanted)),
            "state": variant.state,
            "changes": variant.packages,
        })
    });
    json!({
        "format": 1,
        "changed": changes.any,
        "base": changes.base,
        "changes": changes.site,
        "variants": variants.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_for_people() {
        let told = [0, 1023, 1024, 1025, (1 << 20) - 1, 1 << 20, 15 << 19].map(readable);
        assert_eq!(
            told,
            ["0 bytes", "1023 bytes", "1 KiB", "2 KiB", "1024 KiB", "1.0 MiB", "7.5 MiB"].map(str::to_owned)
        );
    }
}
