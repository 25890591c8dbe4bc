//! The difference for people: what differs, part by part, and no part longer than a screen.

use super::{Change, Detail, Difference, DifferenceKind, Section, Side};
use handoff::shown::Shown;

/// How many changes of a kind are shown, unless the user asks for all.
const MOST: usize = 20;

/// The difference as lines; `all` shows every file.
#[must_use]
pub fn to_text(difference: &Difference, all: bool) -> String {
    let most = if all { usize::MAX } else { MOST };
    let mut text = String::new();
    for (side, path) in Side::BOTH.into_iter().zip(&difference.paths) {
        text.push_str(&format!("{side}  {}\n", Shown(path.display())));
    }
    for damage in &difference.damaged {
        text.push_str(&format!("damaged in {}: {}: {}\n", damage.side, damage.part, Shown(&damage.problem)));
    }
    for section in
        difference.sections.iter().filter(|section| !section.is_same() || !section.notes.is_empty())
    {
        text.push_str(&told(section, most));
    }
    let same = difference.sections.iter().filter(|section| section.is_same() && section.notes.is_empty());
    let same: Vec<String> = same.map(name).collect();
    if !same.is_empty() {
        text.push_str(&format!("\nthe same: {}\n", same.join(", ")));
    }
    if !difference.damaged.is_empty() {
        text.push_str("\nnot everything could be compared; psyops verify shows what is damaged\n");
    }
    text
}

fn name(section: &Section) -> String {
    section
        .slot
        .map_or_else(|| section.part.to_owned(), |slot| format!("{}-{slot}", section.part.replace(' ', "-")))
}

fn told(section: &Section, most: usize) -> String {
    let of = |kind| section.changes.iter().filter(move |change| change.kind == kind);
    let counts = DifferenceKind::ALL.map(|kind| (kind, of(kind).count()));
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.word()))
        .collect();
    let counts = if counts.is_empty() { "not compared".to_owned() } else { counts.join(", ") };
    let mut text = format!("\n{}: {counts}\n", name(section));
    for kind in DifferenceKind::ALL {
        of(kind).take(most).for_each(|change| text.push_str(&line(change)));
        let more = of(kind).count().saturating_sub(most);
        if more > 0 {
            text.push_str(&format!("  … and {more} more {} (--all shows them)\n", kind.word()));
        }
    }
    section.notes.iter().for_each(|note| text.push_str(&format!("  ({})\n", Shown(note))));
    text
}

fn line(change: &Change) -> String {
    let sign = match change.kind {
        DifferenceKind::Added => '+',
        DifferenceKind::Removed => '-',
        DifferenceKind::Changed => '~',
    };
    let details = change.details.iter().filter_map(|detail| told_detail(change.kind, detail));
    let details: Vec<String> = details.collect();
    let colon = if details.is_empty() { "" } else { ": " };
    format!("  {sign} {}{colon}{}\n", printable(&change.name), details.join(", "))
}

fn told_detail(kind: DifferenceKind, detail: &Detail) -> Option<String> {
    let value = |value: &Option<super::Value>| value.as_ref().map(|value| printable(&value.to_string()));
    let what = detail.what;
    Some(match (kind, value(&detail.from), value(&detail.to)) {
        (DifferenceKind::Changed, Some(from), Some(to)) => format!("{what} {from} -> {to}"),
        (DifferenceKind::Changed, None, Some(to)) => format!("{what} new: {to}"),
        (DifferenceKind::Changed, Some(from), None) => format!("{what} gone: {from}"),
        // If only one image has the file, its digest says nothing.
        (DifferenceKind::Added | DifferenceKind::Removed, ..) if what == "content" => return None,
        (_, from, to) => format!("{what} {}", from.or(to)?),
    })
}

/// Names come from files in the image, so control characters are escaped.
fn printable(text: &str) -> String {
    Shown(text).to_string()
}
