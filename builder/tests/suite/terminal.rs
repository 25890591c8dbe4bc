//! What commands ask on a terminal, and how they handle the answers. `script` (bsdutils, on every Debian) is the
//! terminal.

use crate::common::Fixture;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Runs `psyops` on a terminal that types each answer when the text so far ends with its question; returns exit code
/// and text.
fn talk(fixture: &Fixture, words: &str, answers: &[(&str, &str)]) -> (i32, String) {
    let line = format!("exec {} {words}", env!("CARGO_BIN_EXE_psyops"));
    let mut script = fixture.command("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    let (mut text, mut byte) = (Vec::new(), [0]);
    let mut answers = answers.iter();
    let mut next = answers.next();
    while screen.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
        if let Some((_, answer)) = next.filter(|(question, _)| text.ends_with(question.as_bytes())) {
            // The echo is turned off after the question is shown; no user types that fast.
            thread::sleep(Duration::from_millis(300));
            keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
            next = answers.next();
        }
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!(next, None, "this was not asked:\n{text}");
    drop(keyboard);
    (running.wait().unwrap().code().unwrap(), text)
}

const TO_ACCEPT: &str = "to accept that, type the key (Enter skips it): ";

#[test]
fn a_key_is_accepted_only_where_it_is_typed_in_full() {
    let fixture = Fixture::new();
    let other = fixture.add_recipient();
    for wrong in ["", "y", "yes", &other[..other.len() - 1]] {
        let (code, text) = talk(&fixture, "trust accept --site site", &[(TO_ACCEPT, wrong)]);
        assert_eq!(code, 77, "{text}");
        assert!(text.contains(&format!("site.toml has the admin recipient {other}")), "{text}");
    }
    let accepted = fixture.at("config/psyops/lab/lab.trust.toml");
    assert!(!fs::read_to_string(&accepted).unwrap().contains(&other));
    let (code, text) = talk(&fixture, "trust accept --site site", &[(TO_ACCEPT, &other)]);
    assert_eq!(code, 0, "{text}");
    assert!(fs::read_to_string(&accepted).unwrap().contains(&other));
}

#[test]
fn an_answer_counts_only_for_its_question() {
    let fixture = Fixture::new();
    let other = fixture.add_recipient();
    // The same key as that of a node: accepting the node does not make its owner an admin.
    fs::write(fixture.at("site/nodes/kiosk.toml"), format!("recipient = \"{other}\"\n")).unwrap();
    let (code, text) = talk(&fixture, "trust accept --site site", &[(TO_ACCEPT, ""), (TO_ACCEPT, &other)]);
    assert_eq!(code, 77, "{text}");
    assert!(text.contains("accepted just now: nodes/kiosk.toml has the node key"), "{text}");
    let accepted = fs::read_to_string(fixture.at("config/psyops/lab/lab.trust.toml")).unwrap();
    assert!(!accepted.contains(&other), "{accepted}");
}

#[test]
fn passphrases_are_asked_for_once_and_not_shown() {
    let fixture = Fixture::new();
    let (first, second) = ("New passphrase: ", "The same passphrase again: ");
    let (code, text) =
        talk(&fixture, "keys passphrase --site site", &[(first, "correct horse"), (second, "correct horsf")]);
    assert_ne!(code, 0, "{text}");
    let (code, text) =
        talk(&fixture, "keys passphrase --site site", &[(first, "correct horse"), (second, "correct horse")]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("horse"), "{text}");
    // There is one question for both keys.
    let question = "Passphrase of the admin's identity";
    let end = ": ";
    let (code, text) = talk(&fixture, "seal --site site --all", &[(end, "correct horse")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(question) && text.matches("assphrase").count() == 1, "{text}");
    assert!(!text.contains("horse"), "{text}");
    let (code, text) = talk(&fixture, "seal --site site --all", &[(end, "correct horsf")]);
    assert!(code == 77 && !text.contains("horsf"), "{text}");
}
