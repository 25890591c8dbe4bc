//! The builder's files open with standard tools, which are independent of this project.

use anyhow::{Context as _, Result, ensure};
use builder::boot::uki::{Section, Uki};
use handoff::boot_record::{BootRecord, SIZE, SIZE_U64};
use handoff::kernel_arguments::{KernelArguments, ROOT_HASH};
use handoff::partition::Role;
use handoff::paths::AGE_KEY;
use handoff::slot::Slot;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::Stick;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

fn stick() -> Result<Stick> {
    SiteFixture::micro()?.stick("alpha")
}

/// The UKI of slot a, without what follows it in the partition.
fn uki_of(stick: &Stick) -> Result<PathBuf> {
    let end = stick.extent(Role::Boot(Slot::A))?.length;
    let record = BootRecord::decode(&stick.read(Role::Boot(Slot::A), end - SIZE_U64, SIZE)?)?;
    let path = stick.beside("uki.efi");
    fs::write(&path, stick.read(Role::Boot(Slot::A), 0, usize::try_from(record.length)?)?)?;
    Ok(path)
}

fn root_hash(stick: &Stick) -> Result<String> {
    let uki = fs::read(uki_of(stick)?)?;
    let arguments = KernelArguments::parse(&Uki::parse(&uki)?.text(Section::CommandLine)?);
    Ok(arguments.value(ROOT_HASH).context("no root hash on the command line")?.to_owned())
}

#[test]
fn sgdisk_finds_no_problem() -> Result<()> {
    let output = succeed(Command::new("sgdisk").arg("-v").arg(stick()?.path()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains("No problems found"), "{said}");
    Ok(())
}

#[test]
fn fsck_vfat_finds_no_problem_and_mtools_reads_the_selector() -> Result<()> {
    let stick = stick()?;
    let esp = stick.extract(Role::Esp)?;
    succeed(Command::new("fsck.vfat").arg("-n").arg(&esp))?;
    let out = stick.beside("selector.efi");
    succeed(Command::new("mcopy").arg("-i").arg(&esp).arg("::EFI/BOOT/BOOTX64.EFI").arg(&out))?;
    ensure!(fs::read(&out)?.starts_with(b"MZ"));
    Ok(())
}

#[test]
fn e2fsck_finds_no_problem() -> Result<()> {
    stick()?.fsck_secret()
}

#[test]
fn unsquashfs_reads_the_root() -> Result<()> {
    let stick = stick()?;
    let root = stick.extract(Role::Root(Slot::A))?;
    let output = succeed(Command::new("unsquashfs").arg("-s").arg(&root))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains("Compression zstd"), "{said}");
    let list = succeed(Command::new("unsquashfs").arg("-lc").arg(&root))?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    ensure!(list.contains("/usr/lib/psyops/psyops-agent"), "no agent in the root");
    Ok(())
}

#[test]
fn veritysetup_verifies_the_root() -> Result<()> {
    let stick = stick()?;
    let (root, tree) = (stick.extract(Role::Root(Slot::A))?, stick.extract(Role::Verity(Slot::A))?);
    let hash = root_hash(&stick)?;
    succeed(Command::new("veritysetup").arg("verify").arg(&root).arg(&tree).arg(&hash))?;
    // And the check works: another hash is refused.
    let wrong = if hash.starts_with('0') { hash.replacen('0', "1", 1) } else { format!("0{}", &hash[1..]) };
    let refused = Command::new("veritysetup").arg("verify").arg(&root).arg(&tree).arg(&wrong).output()?;
    ensure!(!refused.status.success());
    Ok(())
}

#[test]
fn objdump_lists_the_sections_of_the_uki() -> Result<()> {
    let output = succeed(Command::new("objdump").arg("-h").arg(uki_of(&stick()?)?))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for section in [".osrel", ".cmdline", ".uname", ".linux", ".initrd"] {
        ensure!(said.contains(section), "{section} is missing: {said}");
    }
    Ok(())
}

#[test]
fn cpio_lists_the_initramfs() -> Result<()> {
    let stick = stick()?;
    let uki = fs::read(uki_of(&stick)?)?;
    // The frame, without the padding to four bytes that the kernel requires after it.
    let packed = zstd::Decoder::new(Uki::parse(&uki)?.section(Section::Initrd)?)?;
    let plain = stick.beside("initrd");
    io::copy(&mut packed.single_frame(), &mut fs::File::create(&plain)?)?;
    let list = Command::new("cpio").args(["-t", "--quiet"]).stdin(fs::File::open(&plain)?).output()?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for name in ["init", "dev/console", "psyops/trust", "psyops/end"] {
        ensure!(list.lines().any(|line| line.trim_start_matches(['.', '/']) == name), "{name}: {list}");
    }
    Ok(())
}

#[test]
fn systemd_dissect_recognises_the_disk() -> Result<()> {
    let stick = stick()?;
    let hash = root_hash(&stick)?;
    let mut dissect = Command::new("systemd-dissect");
    dissect.arg(format!("--root-hash={hash}")).arg("--json=short").arg(stick.path());
    let output = succeed(&mut dissect)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains("\"root\"") && said.contains("squashfs") && said.contains("\"esp\""), "{said}");
    Ok(())
}

#[test]
fn minisign_checks_the_uki_by_its_boot_record() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = stick()?;
    let end = stick.extent(Role::Boot(Slot::A))?.length;
    let record = BootRecord::decode(&stick.read(Role::Boot(Slot::A), end - SIZE_U64, SIZE)?)?;
    let minisig = stick.beside("uki.minisig");
    fs::write(&minisig, record.signature)?;
    let mut check = Command::new("minisign");
    check.args(["-V", "-P", &signing_key(&fixture)?, "-m"]).arg(uki_of(&stick)?).arg("-x").arg(&minisig);
    let said = String::from_utf8_lossy(&succeed(&mut check)?.stdout).into_owned();
    ensure!(said.contains("site test, release 1, security epoch 0"), "{said}");
    Ok(())
}

/// The public key in the site's own file.
fn signing_key(fixture: &SiteFixture) -> Result<String> {
    let site = fs::read_to_string(fixture.site().join("site.toml"))?;
    Ok(site.split('"').find(|text| text.starts_with("RW")).context("no signing key in site.toml")?.to_owned())
}

#[test]
fn minisign_and_age_and_tar_open_the_seal() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = stick()?;
    let role = Role::Seal(Slot::A);
    let bytes = stick.read(role, 0, usize::try_from(stick.extent(role)?.length)?)?;
    let signature = bytes.windows(18).position(|w| w == b"untrusted comment:").context("no signature")?;
    let end = bytes.iter().rposition(|&b| b != 0).context("empty")? + 1;
    let (signed, minisig) = (stick.beside("seal"), stick.beside("seal.minisig"));
    fs::write(&signed, &bytes[..signature])?;
    fs::write(&minisig, &bytes[signature..end])?;
    let site = fs::read_to_string(fixture.site().join("site.toml"))?;
    let key = site.split('"').find(|text| text.starts_with("RW")).context("no signing key in site.toml")?;
    succeed(
        Command::new("minisign").args(["-V", "-q", "-P", key, "-m"]).arg(&signed).arg("-x").arg(&minisig),
    )?;

    let header = bytes.windows(2).position(|w| w == b"\n\n").context("no header")? + 2;
    let payload = stick.beside("payload.age");
    fs::write(&payload, &bytes[header..signature])?;
    let node_key = stick.beside("age.key");
    fs::write(&node_key, stick.secret_file(AGE_KEY)?)?;
    for identity in [node_key, fixture.keys().join("admin.age.txt")] {
        let tar = stick.beside("payload.tar");
        succeed(Command::new("age").arg("-d").arg("-i").arg(&identity).arg("-o").arg(&tar).arg(&payload))?;
        let list = succeed(Command::new("tar").arg("-tf").arg(&tar))?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        ensure!(list.lines().any(|line| line == "manifest"), "{list}");
    }
    Ok(())
}

#[test]
fn ssh_keygen_reads_the_host_key() -> Result<()> {
    let stick = stick()?;
    let key = stick.beside("host_key");
    fs::write(&key, stick.secret_file("ssh/ssh_host_ed25519_key")?)?;
    let mut private = Command::new("chmod");
    succeed(private.arg("600").arg(&key))?;
    let output = succeed(Command::new("ssh-keygen").arg("-l").arg("-f").arg(&key))?;
    ensure!(String::from_utf8_lossy(&output.stdout).contains("ED25519"));
    Ok(())
}
