//! SPDX 2.3 in JSON (specification, clauses 6, 7 and 11).

use super::{Component, ComponentKind, Subject};
use crate::site::rfc3339;
use serde_json::{Value, json};

const ROOT: &str = "SPDXRef-image";

pub(super) fn document(subject: &Subject, components: &[Component]) -> String {
    let mut packages = vec![json!({
        "SPDXID": ROOT,
        "name": subject.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)];
    for component in components {
        let id = format!("SPDXRef-{}", component.id());
        relationships.push(relationship(ROOT, "CONTAINS", &id));
        packages.push(package(component, &id));
    }
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": format!("urn:uuid:{}", subject.id),
        "creationInfo": {
            "created": rfc3339(subject.time),
            "creators": [concat!("Tool: psyops-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    format!("{document:#}\n")
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn package(component: &Component, id: &str) -> Value {
    let supplier = match component.kind {
        ComponentKind::Debian => "Organization: Debian",
        ComponentKind::Own | ComponentKind::Crate | ComponentKind::Image | ComponentKind::Tar => {
            "NOASSERTION"
        }
    };
    let mut package = json!({
        "SPDXID": id,
        "name": component.name,
        "versionInfo": component.version,
        "supplier": supplier,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": component.purl(),
        }],
    });
    if let Some(sha256) = &component.sha256 {
        package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    package
}
