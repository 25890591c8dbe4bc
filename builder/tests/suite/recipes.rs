//! The code of each step is in the list in `builder/build.rs` from which the step's key is made. So a change of that
//! code changes the key, and results of older code are never used.

use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that any step may import without listing them, and why they cannot change a result.
const SHAPELESS: [(&str, &str); 24] = [
    ("atomic", "writes bytes, and does not make them"),
    ("beneath", "opens files"),
    ("details", "text of errors"),
    ("error", "errors"),
    ("file_stamp", "whether a file was written to since"),
    ("folders", "places of the user's folders"),
    ("header_field", "places in headers that other files name"),
    ("input", "reads files up to a limit"),
    ("limits", "refuses, and does not change"),
    ("next_command", "text of advice"),
    ("parallel", "who works, and not at what"),
    ("private_memory", "where memory is"),
    ("programs", "their content is an input"),
    ("progress", "lines on the terminal"),
    ("scratch", "temporary folders"),
    ("site", "its values are inputs"),
    ("staging", "temporary folders"),
    ("store", "places of results"),
    ("terminal", "lines on the terminal"),
    ("tool_output", "reads what a tool prints"),
    ("width", "conversions that keep the number"),
    ("handoff::hash", "SHA-256"),
    ("handoff::name", "a text with rules"),
    ("handoff::shown", "text of messages"),
];

/// The results of other steps are inputs with their keys.
const BY_KEY: [(&str, &[&str]); 4] = [
    ("PSYOPS_RECIPE_BASE", &["secrets", "keys::issue", "keys::signature"]),
    (
        "PSYOPS_RECIPE_ROOT",
        &["handoff::architecture", "base", "image", "handoff::kernel_arguments", "handoff::loader_config"],
    ),
    (
        "PSYOPS_RECIPE_BOOT",
        &["base", "sbom", "root", "image", "ids", "secrets", "tools", "keys::issue", "tree"],
    ),
    ("PSYOPS_RECIPE_IMAGE", &["base", "sbom", "boot", "tree"]),
];

fn builder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Parses the lists in `build.rs`.
fn recipes() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = fs::read_to_string(builder().join("build.rs"))?;
    let (_, rest) = text.split_once("const RECIPES").context("no list of recipes")?;
    let (list, _) = rest.split_once("];").context("no end of the list")?;
    let mut recipes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut open = None;
    for word in list.split('"').skip(1).step_by(2) {
        if word.starts_with("PSYOPS_RECIPE_") {
            open = Some(recipes.entry(word.to_owned()).or_default());
        } else {
            open.as_mut().context("a source before the first recipe")?.insert(word.to_owned());
        }
    }
    Ok(recipes)
}

fn rust_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    for entry in fs::read_dir(path)? {
        files.extend(rust_files(&entry?.path())?);
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    Ok(files)
}

/// The modules of this crate and of `handoff`, `keys` and `medium` that a text names, except in its tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = crate::common::without_tests(text);
    let mut found = BTreeSet::new();
    for (krate, prefix) in
        [("crate::", ""), ("handoff::", "handoff::"), ("keys::", "keys::"), ("medium::", "medium::")]
    {
        for (at, _) in code.match_indices(krate) {
            let before = code.get(..at).and_then(|text| text.chars().next_back());
            let rest = code.get(at + krate.len()..).unwrap_or_default();
            let module: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !module.is_empty() && before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                found.insert(format!("{prefix}{module}"));
            }
        }
    }
    found
}

/// Whether the sources contain the whole module.
fn has(sources: &BTreeSet<String>, module: &str) -> bool {
    let place = match module.split_once("::") {
        Some((krate, module)) => {
            if sources.contains(&format!("../{krate}/src")) {
                return true;
            }
            format!("../{krate}/src/{module}")
        }
        None => format!("src/{module}"),
    };
    let file = format!("{place}.rs");
    let (is_file, is_folder) = (builder().join(&file).is_file(), builder().join(&place).is_dir());
    (is_file || is_folder)
        && (!is_file || sources.contains(&file))
        && (!is_folder || sources.contains(&place))
}

#[test]
fn the_sources_of_a_step_are_in_its_recipe() -> Result<()> {
    let recipes = recipes()?;
    assert_eq!(recipes.len(), BY_KEY.len());
    let mut missing = Vec::new();
    for (recipe, by_key) in BY_KEY {
        let sources = recipes.get(recipe).with_context(|| format!("no {recipe}"))?;
        for source in sources {
            let place = builder().join(source);
            ensure!(place.exists(), "{recipe} names {source}, which does not exist");
            if source.starts_with("../") {
                continue;
            }
            for file in rust_files(&place)? {
                let name = file.file_name().context("no name")?.to_string_lossy().into_owned();
                if name.ends_with("tests.rs")
                    || name == "fuzzing.rs"
                    || name == "golden.rs"
                    || name == "fixture.rs"
                {
                    continue;
                }
                let unlisted = imports(&fs::read_to_string(&file)?).into_iter().filter(|module| {
                    !has(sources, module)
                        && !by_key.contains(&module.as_str())
                        && !SHAPELESS.iter().any(|(known, _)| known == module)
                });
                missing
                    .extend(unlisted.map(|module| format!("{recipe}: {} imports {module}", file.display())));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "list these modules in builder/build.rs, or say here why they cannot change a result:\n{}",
        missing.join("\n")
    );
    Ok(())
}

#[test]
fn imports_are_found_where_they_are() {
    let text = "use crate::tree::A;\nuse handoff::verity::B;\nlet x = mycrate::no;\n#[cfg(test)]\nuse crate::late::C;";
    assert_eq!(imports(text), ["handoff::verity", "tree"].map(str::to_owned).into());
}
