//! A new seal is installed on a running node, and the next cold start uses it.

use anyhow::{Result, ensure};
use handoff::partition::Role;
use handoff::report::Outcome;
use handoff::slot::Slot;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::Booted;
use std::fs;

/// A text that is only in the new seal.
const GREETING: &str = "Greetings from the second seal.";

#[test]
fn a_new_seal_is_installed_on_a_running_node_and_used_from_the_next_start_on() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let seal = fixture.seal_with_greeting(&stick.beside(""), GREETING)?;
    let ssh = Ssh::new(&fixture)?;
    let mut setup = stick.setup()?;
    setup.ssh = Some(ssh.port());

    let mut first = Booted::wait(&setup)?;
    assert_eq!(first.seen.report.generation, Some(1), "{:?}", first.seen.report);
    let install = "psyops-agent seal install - --json; echo \"exit $?\"";
    let said = ssh.run_with_input("alpha", install, &seal)?;
    ensure!(
        said == "{\"format\":1,\"serial\":2,\"slot\":\"b\",\"written\":true,\"replaced\":1}\nexit 0\n",
        "{said}"
    );
    let again = ssh.run_with_input("alpha", "psyops-agent seal install -; echo \"exit $?\"", &seal)?;
    ensure!(again == "seal generation 2 is in seal-b already\nexit 0\n", "{again}");
    // A valid seal of another node of the same site is refused.
    fixture.stick("beta")?;
    let beta = fs::read(fixture.site().join("seals/beta.seal"))?;
    let refused = ssh.run_with_input("alpha", "psyops-agent seal install - 2>&1; echo \"exit $?\"", &beta)?;
    ensure!(
        refused.contains("the seal of node beta is for the key") && refused.ends_with("exit 77\n"),
        "{refused}"
    );
    first.power_off()?;
    let on_stick = stick.read(Role::Seal(Slot::B), 0, seal.len())?;
    ensure!(on_stick == seal, "seal-b does not hold the new seal");

    let mut setup = stick.cold();
    setup.ssh = Some(ssh.port());
    let mut second = Booted::wait(&setup)?;
    let report = &second.seen.report;
    assert_eq!((report.outcome, report.generation), (Outcome::Ok, Some(2)), "{report:?}");
    let greeting = ssh.run("alpha", "cat /etc/motd")?;
    ensure!(greeting.contains(GREETING), "{greeting}");
    second.power_off()
}
