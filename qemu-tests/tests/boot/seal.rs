//! A seal or an identity that is not valid: a specific message, and a rescue shell that can be used.

use anyhow::{Context as _, Result, ensure};
use handoff::partition::Role;
use handoff::paths::{AGE_KEY, SECRET_PARTITION, SECRETS};
use handoff::report::Outcome;
use handoff::slot::Slot;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::{Booted, Stick};
use std::fs;
use std::time::Duration;

/// Boots into the rescue shell, checks the message of the fault, and runs a command in the shell.
fn is_refused(stick: &Stick, fault: &str, words: &[&str]) -> Result<()> {
    let mut booted = stick.boot()?;
    is_in_rescue(&booted, fault, words)?;
    can_be_used(&mut booted)
}

fn is_in_rescue(booted: &Booted, fault: &str, words: &[&str]) -> Result<()> {
    let report = &booted.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    let found = report.faults.iter().find(|found| found.fault == fault);
    let message = &found.with_context(|| format!("no fault {fault} in {report:?}"))?.message;
    for word in words {
        ensure!(message.contains(word), "{word:?} is not in the message: {message}");
    }
    Ok(())
}

fn can_be_used(booted: &mut Booted) -> Result<()> {
    booted.machine.send("\n")?;
    booted.machine.send("echo rescue-$((40+2))\n")?;
    booted.machine.wait_for("rescue-42", Duration::from_secs(30))?;
    // The keys are removed from memory before a shell starts.
    booted
        .machine
        .send(&format!("ls {SECRET_PARTITION}/{AGE_KEY} {SECRETS}/hostname || echo no-$((40+3))\n"))?;
    booted.machine.wait_for("no-43", Duration::from_secs(30))?;
    Ok(())
}

/// The bytes of the node's seal, without the padding.
fn seal_of(stick: &Stick) -> Result<Vec<u8>> {
    let role = Role::Seal(Slot::A);
    let bytes = stick.read(role, 0, usize::try_from(stick.extent(role)?.length)?)?;
    let end = bytes.iter().rposition(|&byte| byte != 0).context("slot a holds no seal")? + 1;
    Ok(bytes[..end].to_vec())
}

fn with_seal(seal: &[u8]) -> Result<Stick> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let length = usize::try_from(stick.extent(Role::Seal(Slot::A))?.length)?;
    for slot in Slot::BOTH {
        stick.write(Role::Seal(slot), 0, &vec![0; length])?;
    }
    stick.write(Role::Seal(Slot::A), 0, seal)?;
    Ok(stick)
}

fn position(bytes: &[u8], needle: &[u8]) -> Result<usize> {
    bytes.windows(needle.len()).position(|window| window == needle).context("not found in the seal")
}

#[test]
fn a_seal_with_a_flipped_byte_in_its_signature_is_refused() -> Result<()> {
    let mut seal = seal_of(&SiteFixture::micro()?.stick("alpha")?)?;
    let line = position(&seal, b"untrusted comment:")?;
    let signature = line + seal[line..].iter().position(|&b| b == b'\n').context("one line only")? + 40;
    seal[signature] = if seal[signature] == b'A' { b'B' } else { b'A' };
    is_refused(&with_seal(&seal)?, "seal", &["signature", "seal-a"])
}

#[test]
fn a_seal_with_a_flipped_byte_in_its_payload_is_refused() -> Result<()> {
    let mut seal = seal_of(&SiteFixture::micro()?.stick("alpha")?)?;
    let payload = position(&seal, b"age-encryption.org")? + 400;
    seal[payload] ^= 1;
    is_refused(&with_seal(&seal)?, "seal", &["signature", "seal-a"])
}

#[test]
fn the_seal_of_another_node_is_refused() -> Result<()> {
    let seal = seal_of(&SiteFixture::micro()?.stick("beta")?)?;
    let mine = public_key("alpha")?;
    let theirs = public_key("beta")?;
    is_refused(&with_seal(&seal)?, "identity", &[&mine, &theirs, "beta"])
}

#[test]
fn a_seal_that_another_site_signed_is_refused() -> Result<()> {
    let seal = seal_of(&SiteFixture::stranger()?.stick("alpha")?)?;
    is_refused(&with_seal(&seal)?, "seal", &["key", "seal-a"])
}

#[test]
fn a_stick_without_a_seal_starts_rescue() -> Result<()> {
    is_refused(&with_seal(&[])?, "seal", &["seal-a", "seal-b", "empty"])
}

/// A genuine seal that was replaced is put back into both places; the system requires the newer one.
#[test]
fn an_older_seal_in_both_places_is_refused() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let older = seal_of(&fixture.stick("alpha")?)?;
    let image = fixture.image_after("raised", "alpha", |copy| {
        let mut raise = copy.psyops();
        raise.args(["seal", "--node", "alpha", "--raise", "serial", "--site"]).arg(copy.site());
        succeed(&mut raise).map(drop)
    })?;
    let stick = Stick::copy_of(&image)?;
    // The next seal has the floor as its generation, above all that other tests have used for the node.
    let generation = |seal: &[u8]| Ok::<u64, anyhow::Error>(header(seal, "serial: ")?.parse()?);
    let (given, least) = (generation(&older)?, generation(&seal_of(&stick)?)?);
    ensure!(least > given, "generation {given} became {least}");
    for slot in Slot::BOTH {
        let length = usize::try_from(stick.extent(Role::Seal(slot))?.length)?;
        stick.write(Role::Seal(slot), 0, &vec![0; length])?;
        stick.write(Role::Seal(slot), 0, &older)?;
    }
    let refusal = format!("has generation {given}, this system accepts generation {least} or later");
    is_refused(&stick, "seal", &[&refusal, "seal-a", "seal-b"])
}

#[test]
fn a_damaged_seal_is_skipped_if_the_other_slot_has_one() -> Result<()> {
    let seal = seal_of(&SiteFixture::micro()?.stick("alpha")?)?;
    let stick = with_seal(&seal)?;
    stick.write(Role::Seal(Slot::B), 0, &seal)?;
    stick.flip(Role::Seal(Slot::A), 600)?;
    let report = stick.boot_and_power_off()?.report;
    assert_eq!(report.outcome, Outcome::Ok, "{report:?}");
    Ok(())
}

#[test]
fn a_stick_without_an_age_key_starts_rescue() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    stick.debugfs(&format!("rm /{AGE_KEY}\n"))?;
    is_refused(&stick, "identity", &[AGE_KEY, &public_key("alpha")?])
}

#[test]
fn a_malformed_age_key_is_refused() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let bad = stick.beside("bad.key");
    fs::write(&bad, "AGE-SECRET-KEY-THAT-IS-NONE\n")?;
    stick.debugfs(&format!("rm /{AGE_KEY}\nwrite {} /{AGE_KEY}\n", bad.display()))?;
    is_refused(&stick, "identity", &[AGE_KEY])
}

#[test]
fn the_age_key_of_another_node_is_refused_and_not_written() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let other = stick.beside("beta.key");
    fs::write(&other, SiteFixture::micro()?.stick("beta")?.secret_file(AGE_KEY)?)?;
    stick.debugfs(&format!("rm /{AGE_KEY}\nwrite {} /{AGE_KEY}\n", other.display()))?;
    is_refused(&stick, "identity", &[&public_key("alpha")?, &public_key("beta")?])?;
    // Whatever is wrong with the key, it is never written.
    assert_eq!(stick.secret_file(AGE_KEY)?, fs::read(&other)?);
    Ok(())
}

#[test]
fn leaving_the_shell_tries_to_boot_again() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    stick.debugfs(&format!("rm /{AGE_KEY}\n"))?;
    let mut booted = stick.boot()?;
    booted.machine.send("exit\n")?;
    let again = builder::run::watch::wait_for_report(&mut booted.machine, Duration::from_mins(2))?;
    assert_eq!(again.report.outcome, Outcome::Rescue);
    Ok(())
}

/// The public key in the header of a node's seal.
fn public_key(node: &str) -> Result<String> {
    header(&seal_of(&SiteFixture::micro()?.stick(node)?)?, "recipient: ")
}

/// The rest of the line of a seal's header that begins with `key`.
fn header(seal: &[u8], key: &str) -> Result<String> {
    let header = String::from_utf8_lossy(&seal[..400.min(seal.len())]).into_owned();
    let line = header.lines().find_map(|line| line.strip_prefix(key));
    line.map(str::to_owned).with_context(|| format!("no line of the header begins with {key:?}"))
}
