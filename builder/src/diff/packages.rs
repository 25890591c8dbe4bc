//! The packages of a root: from the SPDX document in it, or else from dpkg's list of installed packages.

use super::change::{Facts, Value};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The path of the SPDX document in the root.
pub(super) const SPDX: &str = "usr/share/psyops/sbom.spdx.json";
/// The path of dpkg's list in the root.
pub(super) const DPKG: &str = "var/lib/dpkg/status";

/// The fields of an SPDX document (SPDX 2.3, JSON) that are read.
#[derive(Deserialize)]
struct Document {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(rename = "versionInfo")]
    version: Option<String>,
}

/// The packages with their versions, or why they are not known.
pub(super) fn list(spdx: Option<&[u8]>, dpkg: Option<&[u8]>) -> Result<Facts, String> {
    let found = match (spdx, dpkg) {
        (Some(document), _) => of_spdx(document)?,
        (None, Some(status)) => of_dpkg(&String::from_utf8_lossy(status)),
        (None, None) => {
            return Err(format!("the root has no list of packages (neither {SPDX} nor {DPKG})"));
        }
    };
    // A name can occur in several versions.
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in found {
        versions.entry(name).or_default().insert(version);
    }
    let fact = |(name, versions): (String, BTreeSet<String>)| {
        let versions: Vec<String> = versions.into_iter().collect();
        (name, vec![("version", Value::Text(versions.join(", ")))])
    };
    Ok(versions.into_iter().map(fact).collect())
}

/// Parses the bytes as both lists, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (list(Some(bytes), None), list(None, Some(bytes)));
}

fn of_spdx(document: &[u8]) -> Result<Vec<(String, String)>, String> {
    let document: Document =
        serde_json::from_slice(document).map_err(|error| format!("{SPDX} cannot be parsed: {error}"))?;
    // The document also lists the image itself, without a version.
    let pair = |package: Package| Some((package.name, package.version?));
    Ok(document.packages.into_iter().filter_map(pair).collect())
}

/// Paragraphs of fields; the list may still have removed packages with their configuration.
fn of_dpkg(status: &str) -> Vec<(String, String)> {
    let field = |paragraph: &str, name: &str| {
        let mut lines = paragraph.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim().to_owned()))
    };
    let package = |paragraph: &str| {
        field(paragraph, "Status").filter(|status| status.ends_with(" installed"))?;
        Some((field(paragraph, "Package")?, field(paragraph, "Version")?))
    };
    status.split("\n\n").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spdx: Option<&str>, dpkg: Option<&str>) -> Result<Vec<String>, String> {
        let facts = list(spdx.map(str::as_bytes), dpkg.map(str::as_bytes))?;
        Ok(facts.into_iter().map(|(name, facts)| format!("{name} {}", facts[0].1)).collect())
    }

    #[test]
    fn both_lists_are_read_and_a_missing_list_is_reported() {
        let dpkg = "Package: dash\nStatus: install ok installed\nDescription: a\n shell\nVersion: 0.5-1\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: zlib\nStatus: install ok installed\nVersion: 1:2\n";
        assert_eq!(told(None, Some(dpkg)).unwrap(), ["dash 0.5-1", "zlib 1:2"]);
        let spdx = r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"sha2","versionInfo":"0.11","x":1},
                       {"name":"image"},{"name":"sha2","versionInfo":"0.10"}]}"#;
        assert_eq!(told(Some(spdx), Some(dpkg)).unwrap(), ["sha2 0.10, 0.11"]);
        assert!(told(None, None).unwrap_err().contains("has no list of packages"));
        let error = told(Some("{\"packages\":[{}]}"), None).unwrap_err();
        assert!(
            error.starts_with("usr/share/psyops/sbom.spdx.json cannot be parsed: missing field `name`"),
            "{error}"
        );
    }
}
