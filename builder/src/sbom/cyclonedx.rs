//! CycloneDX 1.5 in JSON.

use super::{Component, ComponentKind, Subject};
use crate::site::rfc3339;
use serde_json::{Value, json};

pub(super) fn document(subject: &Subject, components: &[Component]) -> String {
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", subject.id),
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(subject.time),
            "tools": [{"name": "psyops", "version": env!("CARGO_PKG_VERSION")}],
            "component": {"type": "operating-system", "bom-ref": "image", "name": subject.name},
        },
        "components": components.iter().map(component).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn component(component: &Component) -> Value {
    let kind = match component.kind {
        ComponentKind::Own => "application",
        ComponentKind::Debian | ComponentKind::Crate => "library",
        ComponentKind::Image => "container",
        ComponentKind::Tar => "file",
    };
    let mut value = json!({
        "type": kind,
        "bom-ref": component.id(),
        "name": component.name,
        "version": component.version,
        "purl": component.purl(),
    });
    if let Some(sha256) = &component.sha256 {
        value["hashes"] = json!([{"alg": "SHA-256", "content": sha256}]);
    }
    value
}
