//! Each wrong key and value of a site, node or role has its own error, with its place.

use super::tests::{NODE, Sample, keys};
use super::*;
use crate::error::{Class, Classified as _};
use std::fs;

/// The agent would refuse such a variable, and the node would have no configuration at all.
#[test]
fn a_variable_that_hides_a_predefined_name_is_refused_with_its_place() {
    for name in ["node", "site", "base", "hostname"] {
        let sample = Sample::new();
        sample.edit(NODE, "greeting = ", &format!("{name} = "));
        let error = sample.error().to_string();
        assert!(error.contains(&format!("nodes/alpha.toml:6:1: variables = \"{name}\": ")), "{error}");
        assert!(error.contains("node, site, base, hostname"), "{error}");
    }
}

#[test]
fn an_unknown_node_is_named_with_its_neighbour() {
    let site = Sample::new().load().unwrap();
    let error = site.node("alpa").unwrap_err();
    assert_eq!(error.to_string(), "the site lab has no node \"alpa\"; did you mean \"alpha\"?");
    assert_eq!(error.class(), Class::MissingInput);
    assert_eq!(site.node("Ω").unwrap_err().to_string(), "the site lab has no node \"Ω\"; known: alpha");
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let sample = Sample::new();
    let path = sample.0.path().join("site.toml");
    let line = fs::read_to_string(&path).unwrap().lines().count() + 2;
    sample.append("site.toml", "[boot]\n  trys = 3\n");
    let expected = format!("{}:{line}:3: unknown key \"trys\"; did you mean \"tries\"?", path.display());
    assert_eq!(sample.error().to_string(), expected);
    assert!(matches!(sample.error(), SiteError::UnknownKey { key, .. } if key == "trys"));
    let sample = Sample::new();
    sample.append(NODE, "colour = 1\n");
    assert!(matches!(sample.error(), SiteError::UnknownKey { key, .. } if key == "colour"));
}

#[test]
fn each_wrong_value_of_the_site_is_refused() {
    for (from, to, key) in [
        ("id = \"lab\"", "id = \"La b\"", "id"),
        ("release = \"1\"", "release = \"\"", "release"),
        ("2026-11-01T00:00:00Z", "2026-11-01", "build-time"),
        ("2026-11-01T00:00:00Z", "1969-11-01T00:00:00Z", "build-time"),
        ("recipients = [\"age1", "recipients = [\"age2", "recipient"),
        ("keys = [\"RW", "keys = [\"RX", "keys"),
        ("ssh-keys = []", "ssh-keys = [\"justone\"]", "ssh-keys"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", from, to);
        let error = sample.error();
        assert!(matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key), "{to}: {error}");
        assert_eq!(error.class(), Class::BadContent);
    }
    for (more, key) in [
        ("[boot]\ntries = 0\n", "tries"),
        ("[boot]\nidentity-deadline = 0\n", "identity-deadline"),
        ("[boot]\noverlay-size = \"lots\"\n", "overlay-size"),
        ("[boot]\narguments = [\"\"]\n", "arguments"),
        ("[sizes]\nesp = \"64MB\"\n", "esp"),
        ("[sizes]\nroot = \"most\"\n", "root"),
        ("[packages]\nsuite = \"book worm\"\n", "suite"),
        ("[packages]\nextra = [\"a;b\"]\n", "extra"),
        ("[configure]\ndeadline = 0\n", "deadline"),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", more);
        let error = sample.error();
        assert!(
            matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key),
            "{more}: {error}"
        );
    }
}

#[test]
fn each_unknown_word_is_named_with_its_neighbour() {
    for (from, to, nearest) in [
        ("base = \"micro\"", "base = \"mirco\"", "micro"),
        ("login = \"off\"", "login = \"shel\"", "shell"),
        ("[console]", "[boot.faults]\nseel = \"rescue\"\n[console]", "seal"),
        ("[console]", "[boot.faults]\nseal = \"resque\"\n[console]", "rescue"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", from, to);
        let error = sample.error();
        let SiteError::UnknownWord { known, .. } = &error else { panic!("{error}") };
        assert_eq!(known.nearest.as_deref(), Some(nearest));
    }
}

#[test]
fn missing_keys_and_empty_lists_are_refused() {
    let sample = Sample::new();
    sample.edit("site.toml", "id = \"lab\"\n", "");
    assert!(matches!(sample.error(), SiteError::MissingKey { key, .. } if key == "id"));
    let sample = Sample::new();
    sample.edit("site.toml", &format!("keys = [\"{}\"]", keys().signing_public), "keys = []");
    assert!(matches!(sample.error(), SiteError::WrongValue { key: "keys", .. }));
}

#[test]
fn a_private_key_is_refused_and_not_repeated() {
    let sample = Sample::new();
    let private = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
    sample.edit(NODE, "roles =", &format!("recipient = \"{private}\"\nroles ="));
    let text = sample.error().to_string();
    assert!(text.contains("private key") && !text.contains("QQQ"), "{text}");
}

#[test]
fn each_wrong_value_of_a_node_is_refused() {
    let file = "[[file]]\nsource = \"README.md\"\npath = \"x\"\n";
    for (more, key) in [
        ("[[network]]\nname = \"a/b\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"sixteencharacter\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"lan0\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"b\"\nmac = \"52:54\"\n".to_owned(), "mac"),
        ("[[network]]\nname = \"b\"\naddresses = [\"192.0.2.1\"]\n".to_owned(), "addresses"),
        ("[[network]]\nname = \"b\"\naddresses = [\"192.0.2.1/33\"]\n".to_owned(), "addresses"),
        ("[[network]]\nname = \"b\"\ngateway = \"here\"\n".to_owned(), "gateway"),
        ("[[file]]\npath = \"x\"\n".to_owned(), "path"),
        (format!("{file}secret = \"y\"\n"), "path"),
        (format!("{file}{file}"), "path"),
        (file.replace("\"x\"", "\"../x\""), "path"),
        (file.replace("\"x\"", "\"age.key\""), "path"),
        (file.replace("README.md", "../x"), "source"),
        (format!("{file}mode = \"0800\"\n"), "mode"),
        (format!("{file}mode = \"+600\"\n"), "mode"),
        (format!("{file}install = \"etc/x\"\n"), "install"),
        (format!("{file}install = \"/etc/../x\"\n"), "install"),
    ] {
        let sample = Sample::new();
        sample.append(NODE, &more);
        let error = sample.error();
        assert!(
            matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key),
            "{more}: {error}"
        );
    }
}

#[test]
fn files_that_a_node_lists_must_exist() {
    let sample = Sample::new();
    sample.append(NODE, "[[file]]\nsource = \"missing\"\npath = \"x\"\n");
    assert!(matches!(sample.error(), SiteError::MissingSource { .. }));
    let sample = Sample::new();
    sample.edit(NODE, "\"hello\"", "\"helo\"");
    let error = sample.error();
    assert!(
        matches!(&error, SiteError::UnknownRole { known, .. } if known.nearest.as_deref() == Some("hello")),
        "{error}"
    );
    let sample = Sample::new();
    sample.edit("site.toml", "\"common\"", "\"comon\"");
    assert!(matches!(sample.error(), SiteError::UnknownOverlay { .. }));
    let sample = Sample::new();
    fs::write(sample.0.path().join("nodes/Bad Name.toml"), "").unwrap();
    assert!(matches!(sample.error(), SiteError::BadFileName { .. }));
}

#[test]
fn each_wrong_role_is_refused() {
    for (from, to) in [
        ("command = [\"./run.sh\"]", "command = []"),
        ("command = [\"./run.sh\"]", ""),
        ("kind = \"command\"", "kind = \"overlay\""),
    ] {
        let sample = Sample::new();
        sample.edit("roles/example/role.toml", from, to);
        let error = sample.error();
        assert!(matches!(error, SiteError::WrongValue { key: "kind", .. }), "{to}: {error}");
    }
    let sample = Sample::new();
    sample.edit("roles/example/role.toml", "stage = \"configure\"", "stage = \"late\"");
    assert!(matches!(sample.error(), SiteError::UnknownWord { key: "stage", .. }));
}

#[test]
fn a_signing_key_that_is_none_is_an_error_with_its_place() {
    let good = keys().signing_public;
    // The right length and letters, but another algorithm; a character outside base64; too short.
    for bad in [format!("RA{}", "Q".repeat(54)), format!("RW{}", "*".repeat(54)), "RWQ".to_owned()] {
        let sample = Sample::new();
        sample.edit("site.toml", &format!("\"{good}\""), &format!("\"{good}\", \"{bad}\""));
        let text = fs::read_to_string(sample.0.path().join("site.toml")).unwrap();
        let (line, column) = (0..)
            .zip(text.lines())
            .find_map(|(line, text)| Some((line + 1, text.find(&format!("\"{bad}\""))? + 1)))
            .unwrap();
        let error = sample.error().to_string();
        let place = format!("site.toml:{line}:{column}: keys = {bad:?}: a minisign public key is the line");
        assert!(error.contains(&place), "{error}");
    }
}
