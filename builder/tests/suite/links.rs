//! Every relative link in the documents leads to a file and, if it names one, to a heading in it. Every path in the
//! documents for developers is in the checkout.

use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?.to_owned())
}

/// The paths of the checkout that are in git or could be added to it.
fn listed(checkout: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let command = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listing = Command::new("git").args(command).args(arguments).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    Ok(String::from_utf8(listing.stdout)?.lines().map(PathBuf::from).collect())
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fence: Option<&str> = None;
    text.lines().filter(move |line| {
        let ticks = line.trim_start();
        let ticks = &ticks[..ticks.len() - ticks.trim_start_matches('`').len()];
        match fence {
            Some(open) if ticks.len() >= open.len() => {
                fence = None;
                false
            }
            Some(_) => false,
            None if ticks.len() >= 3 => {
                fence = Some(ticks);
                false
            }
            None => true,
        }
    })
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a document. The second heading with the same name gets a number at its end.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text).filter_map(|line| {
        let rest = line.trim_start_matches('#');
        (rest.len() < line.len()).then(|| rest.strip_prefix(' '))?
    });
    let numbered = headings.map(|heading| {
        let anchor = anchor(heading);
        let count = counts.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    });
    numbered.collect()
}

/// The targets of the links in a document. Text between backticks does not contain links.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for rest in plain.split("](").skip(1) {
            found.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// `a/b/../c` as `a/c`; `None` if it leads out.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir if normal.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// What is wrong with a link in `document`, if anything.
fn problem(checkout: &Path, document: &Path, text: &str, target: &str) -> Result<Option<String>> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, heading) = match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    };
    let headings = if file.is_empty() {
        anchors(text)
    } else {
        let folder = document.parent().unwrap_or(Path::new(""));
        let Some(path) = normal(&folder.join(file)) else { return Ok(Some("leads out".into())) };
        let path = checkout.join(path);
        if !path.exists() {
            return Ok(Some("there is no such file".into()));
        }
        if heading.is_none() {
            return Ok(None);
        }
        anchors(&fs::read_to_string(path)?)
    };
    let missing = heading.is_some_and(|heading| !headings.contains(heading));
    Ok(missing.then(|| format!("there is no such heading, only {headings:?}")))
}

#[test]
fn every_relative_link_leads_to_a_file_and_heading() -> Result<()> {
    let checkout = checkout()?;
    let (mut count, mut problems) = (0, Vec::new());
    for document in listed(&checkout, &["*.md"])? {
        // A file that git still tracks may have been removed from the work tree.
        let Ok(text) = fs::read_to_string(checkout.join(&document)) else { continue };
        for target in targets(&text) {
            count += 1;
            if let Some(problem) = problem(&checkout, &document, &text, &target)? {
                problems.push(format!("{}: {target}: {problem}", document.display()));
            }
        }
    }
    ensure!(count > 60, "the links were not found: {count}");
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Whether text between backticks is a path in the checkout: it begins with one of its folders, and has no
/// placeholders.
fn paths<'t>(text: &'t str, folders: &'t BTreeSet<PathBuf>) -> impl Iterator<Item = &'t str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|word| {
        let first = Path::new(word).components().next().map(|first| Path::new(first.as_os_str()).to_owned());
        let stands_for_many = word.contains(['*', '<', ' ', '$']) || word.contains("NAME");
        word.contains('/') && !stands_for_many && first.is_some_and(|first| folders.contains(&first))
    })
}

#[test]
fn every_path_in_the_documents_for_developers_exists() -> Result<()> {
    let checkout = checkout()?;
    let folders: BTreeSet<PathBuf> = listed(&checkout, &[])?
        .iter()
        .filter(|path| path.components().count() > 1)
        .filter_map(|path| path.components().next().map(|first| Path::new(first.as_os_str()).to_owned()))
        .filter(|folder| folder.extension().is_none())
        .collect();
    let (mut count, mut missing) = (0, Vec::new());
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/unsafe.md"] {
        let text = fs::read_to_string(checkout.join(document))?;
        for path in paths(&text, &folders) {
            count += 1;
            if !checkout.join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    ensure!(count > 60, "the paths were not found: {count}");
    ensure!(missing.is_empty(), "these paths do not exist:\n{}", missing.join("\n"));
    Ok(())
}

#[test]
fn a_link_that_leads_nowhere_is_found() -> Result<()> {
    let checkout = checkout()?;
    let text =
        "# One\n\n[a](README.md) `[b](gone)`\n```sh\n[c](gone)\n# no heading\n```\n## Two: `x`/y\n## One\n";
    assert_eq!(targets(text), ["README.md"]);
    assert_eq!(anchors(text), ["one", "two-xy", "one-1"].map(str::to_owned).into());
    let check = |target: &str| problem(&checkout, Path::new("docs/x.md"), text, target);
    for good in ["../README.md", "#two-xy", "#one-1", "threat-model.md#a-committer", "https://x.example/#y"] {
        assert_eq!(check(good)?, None, "{good}");
    }
    for bad in ["README.md", "#three", "../../README.md", "threat-model.md#nobody", "/etc/passwd"] {
        assert!(check(bad)?.is_some(), "{bad}");
    }
    Ok(())
}
