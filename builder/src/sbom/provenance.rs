//! The provenance of an image: its site, its lock, and its builder. An in-toto statement (v1) with SLSA provenance
//! (v1).
//!
//! A shorter form is in the root. The content of the root depends only on its inputs, so the site's revision there is
//! that of its roles and overlays. Git's revision is in the file beside the image: in the root, each commit, even of
//! one node's file, would change the root of all nodes.

use crate::base::imported::ImportedBase;
use crate::base::lock::Lock;
use crate::image::digests::Digests;
use crate::site::{LOCK_FILE, Site};
use crate::tools::{self, GIT};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use serde_json::{Value, json};

/// The name of the builder in a provenance.
const BUILDER: &str = concat!("psyops ", env!("CARGO_PKG_VERSION"));
/// The version of the code that built it.
const RECIPE: &str = env!("PSYOPS_RECIPE_IMAGE");

/// The document in the root.
#[must_use]
pub fn of_root(site: &Site, lock: &Lock) -> String {
    let value = json!({
        "site": site.id.to_string(),
        "release": site.release.to_string(),
        "build_time": site.build_time,
        "lock_sha256": lock.digest().to_string(),
        "builder": BUILDER,
    });
    format!("{value:#}\n")
}

/// The document beside an image.
#[must_use]
pub fn of_image(
    (site, node): (&Site, &Name),
    revision: Option<&Revision>,
    lock: &Lock,
    image: &str,
    digests: &Digests,
) -> String {
    let mut dependencies = vec![json!({
        "name": LOCK_FILE,
        "digest": {"sha256": lock.digest().to_string()},
    })];
    if let Some(imported) = &lock.imported {
        dependencies.push(json!({
            "name": lock.request.base.to_string(),
            "digest": {"sha256": imported.digest().to_string()},
        }));
    }
    if let Some(revision) = revision {
        dependencies.push(json!({
            "name": "site",
            "digest": {"gitCommit": revision.commit},
            "annotations": {"changed_since": revision.dirty},
        }));
    }
    let parts: serde_json::Map<String, Value> =
        digests.iter().map(|(part, digest)| (part.to_string(), digest.into())).collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": format!("{image}#public"), "digest": {"sha256": digests.public().to_string()}},
            {"name": format!("{image}#node"), "digest": {"sha256": digests.node().to_string()}},
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:psyopsos:build-image:1",
                "externalParameters": {
                    "site": site.id.to_string(),
                    "node": node.to_string(),
                    "release": site.release.to_string(),
                    "build_time": site.build_time,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": "urn:psyopsos:builder", "version": {"psyops": BUILDER, "code": RECIPE}},
                "byproducts": [{"name": "parts", "annotations": parts}],
            },
        },
    });
    format!("{statement:#}\n")
}

/// The commit of the site in git.
#[derive(Debug)]
pub struct Revision {
    commit: String,
    /// Whether there are changes that are not committed.
    dirty: bool,
}

impl Revision {
    /// `None` if the site is not in a repository, or git is not installed.
    #[must_use]
    pub fn of(site: &Site) -> Option<Self> {
        let ask = |arguments: &[&str]| {
            let output = tools::run(GIT.command().ok()?.arg("-C").arg(&site.dir).args(arguments)).ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let commit = ask(&["rev-parse", "--verify", "HEAD"])?;
        let dirty = !ask(&["status", "--porcelain", "--", "."])?.is_empty();
        Some(Self { commit, dirty })
    }
}

impl Lock {
    /// The digest of the locked content, whatever else the lock's file has.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let packages: String = self
            .packages
            .iter()
            .map(|package| {
                format!("{:?} {} {} {}\n", package.part, package.name, package.version, package.sha256)
            })
            .collect();
        let imported = self.imported.as_ref().map(ImportedBase::lines).unwrap_or_default();
        Sha256Digest::of(format!("{imported}{packages}").as_bytes())
    }
}
