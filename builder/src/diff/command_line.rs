//! Kernel command lines, compared word by word.

use super::change::{Change, Detail, DifferenceKind, Value};

/// Words that only one line has. If each line has one such word with the same key (`init=`), the value changed. A key
/// may occur more than once (`console=`), and then the order counts.
pub(super) fn compare(a: &str, b: &str) -> Vec<Change> {
    let [mut gone, mut new] = [a, b].map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let lines = [gone.join(" "), new.join(" ")];
    for word in gone.clone() {
        if let Some(there) = new.iter().position(|other| *other == word) {
            new.remove(there);
            let here = gone.iter().position(|other| *other == word);
            here.map(|here| gone.remove(here));
        }
    }
    if gone.is_empty() && new.is_empty() {
        let [from, to] = lines;
        if from == to {
            return Vec::new();
        }
        let order = Detail { what: "order", from: Some(Value::Text(from)), to: Some(Value::Text(to)) };
        return vec![Change {
            kind: DifferenceKind::Changed,
            name: "the same words".into(),
            details: vec![order],
        }];
    }
    let mut changes = Vec::new();
    for word in &gone {
        let is_single = |words: &[&str]| words.iter().filter(|other| key(other) == key(word)).count() == 1;
        let value = |word: &str| Some(Value::text(&word.split_once('=')?.1));
        match new.iter().position(|other| key(other) == key(word)) {
            Some(there) if is_single(&gone) && is_single(&new) => {
                let details = vec![Detail { what: "value", from: value(word), to: value(new.remove(there)) }];
                changes.push(Change { kind: DifferenceKind::Changed, name: key(word).into(), details });
            }
            _ => changes.push(only(DifferenceKind::Removed, word)),
        }
    }
    changes.extend(new.into_iter().map(|word| only(DifferenceKind::Added, word)));
    changes
}

fn key(word: &str) -> &str {
    word.split_once('=').map_or(word, |(key, _)| key)
}

fn only(kind: DifferenceKind, word: &str) -> Change {
    Change { kind, name: word.to_owned(), details: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(a: &str, b: &str) -> Vec<String> {
        let line = |change: Change| {
            let values = change.details.iter().flat_map(|detail| [&detail.from, &detail.to]);
            let values: Vec<_> = values.flatten().map(ToString::to_string).collect();
            format!("{} {} {}", change.kind.word(), change.name, values.join("|")).trim_end().to_owned()
        };
        compare(a, b).into_iter().map(line).collect()
    }

    #[test]
    fn words_are_compared_one_by_one() {
        assert_eq!(told("a=1 quiet", "quiet  a=1 "), ["changed the same words a=1 quiet|quiet a=1"]);
        assert_eq!(told("a=1 quiet", "a=1  quiet\n"), [] as [&str; 0]);
        assert_eq!(told("a=1 quiet x", "a=2 x debug"), ["changed a 1|2", "removed quiet", "added debug"]);
        assert_eq!(told("ro", "ro=1"), ["changed ro 1"]);
        // It is not known which of two words became which.
        assert_eq!(
            told("console=tty0 console=ttyS0", "console=tty0 console=ttyS1 console=hvc0"),
            ["removed console=ttyS0", "added console=ttyS1", "added console=hvc0"]
        );
        assert_eq!(told("c=1 c=1", "c=1"), ["removed c=1"]);
        assert_eq!(told("", "a"), ["added a"]);
    }
}
