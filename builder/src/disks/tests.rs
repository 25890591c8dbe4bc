//! Disks of machines that are written into a folder, in the form in which the kernel shows them.

use super::confirm::confirm;
use super::consent::Consent;
use super::content::{Content, ContentKind};
use super::preflight::{Asked, Purpose};
use super::uses::What;
use super::*;
use crate::error::Classified as _;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A machine's sysfs, procfs and the device files that lead to devices.
struct Machine {
    folder: TempDir,
    files: BTreeMap<PathBuf, Number>,
    mounts: String,
    swaps: String,
}

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut machine =
            Self { folder, files: BTreeMap::new(), mounts: String::new(), swaps: String::new() };
        machine.put("proc/swaps", "");
        machine.swaps = "Filename Type Size Used Priority\n".into();
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A device in that folder of the machine's sysfs.
    fn device(&mut self, folder: &str, at: &str) {
        let name = folder.rsplit('/').next().unwrap();
        let block = self.folder.path().join("sys/dev/block");
        fs::create_dir_all(&block).unwrap();
        for (attribute, text) in
            [("dev", at), ("size", "4096"), ("ro", "0"), ("removable", "0"), ("diskseq", "7")]
        {
            self.put(&format!("sys/devices/{folder}/{attribute}"), &format!("{text}\n"));
        }
        self.put(&format!("sys/devices/{folder}/uevent"), &format!("MAJOR=1\nDEVNAME={name}\n"));
        self.put(&format!("sys/devices/{folder}/queue/logical_block_size"), "512\n");
        symlink(format!("../../devices/{folder}"), block.join(at)).unwrap();
        self.files.insert(Path::new("/dev").join(name), number(at));
    }

    fn partition(&mut self, folder: &str, at: &str) {
        self.device(folder, at);
        self.put(&format!("sys/devices/{folder}/partition"), "1\n");
    }

    /// A device that is made of another.
    fn made_of(&mut self, kind: &str, folder: &str, at: &str, below: &str) {
        self.device(folder, at);
        self.put(&format!("sys/devices/{folder}/{kind}/uuid"), "x\n");
        let holders = self.folder.path().join(format!("sys/devices/{below}/holders"));
        fs::create_dir_all(&holders).unwrap();
        let name = folder.rsplit('/').next().unwrap();
        symlink(self.folder.path().join(format!("sys/devices/{folder}")), holders.join(name)).unwrap();
    }

    fn loop_over(&mut self, name: &str, at: &str, file: &str) {
        self.device(&format!("virtual/block/{name}"), at);
        self.put(&format!("sys/devices/virtual/block/{name}/loop/backing_file"), &format!("{file}\n"));
    }

    fn mount(&mut self, at: &str, place: &str, kind: &str, source: &str, options: &str) {
        self.mounts
            .push_str(&format!("36 35 {at} / {place} rw shared:1 master:2 - {kind} {source} {options}\n"));
    }

    fn kernel(&self) -> Kernel {
        self.put("proc/self/mountinfo", &self.mounts);
        self.put("proc/swaps", &self.swaps);
        let files = self.files.clone();
        let [sys, proc] = ["sys", "proc"].map(|name| self.folder.path().join(name));
        Kernel { sys, proc, dev: "/dev".into(), lookup: Box::new(move |path| files.get(path).copied()) }
    }

    fn disk(&self, at: &str) -> Disk {
        let kernel = self.kernel();
        let system = System::read(&kernel).unwrap();
        disk(&kernel, &system, &kernel.node(number(at)).unwrap(), Path::new("/dev/it")).unwrap()
    }

    /// The uses of the device, as the user reads them.
    fn uses(&self, at: &str) -> Vec<String> {
        self.disk(at).uses.iter().map(Use::to_string).collect()
    }
}

/// A disk `sda` with a partition `sda1`, and a second, unused disk `sdb`.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.device("pci/ata1/host0/block/sda", "8:0");
    fs::create_dir_all(machine.folder.path().join("sys/devices/pci/ata1/ata_port")).unwrap();
    machine.partition("pci/ata1/host0/block/sda/sda1", "8:1");
    machine.partition("pci/ata1/host0/block/sda/sda2", "8:2");
    machine.device("pci/usb1/1-1/host1/block/sdb", "8:16");
    let usb = machine.folder.path().join("sys/devices/pci/usb1/1-1");
    fs::create_dir_all(machine.folder.path().join("sys/bus/usb")).unwrap();
    symlink("../../../../bus/usb", usb.join("subsystem")).unwrap();
    machine.put("sys/devices/pci/usb1/1-1/idVendor", "0781\n");
    machine.put("sys/devices/pci/usb1/1-1/serial", "4C530001\n");
    machine
}

const SDA1: &str = "pci/ata1/host0/block/sda/sda1";

fn is_root(disk: &Disk) -> bool {
    matches!(disk.preflight_for_any(&Consent::default()), Err(Refusal::Root { .. }))
}

#[test]
fn an_unused_disk_is_described() {
    let mut machine = machine();
    machine.mount("8:1", "/", "ext4", "/dev/root", "rw");
    machine.put("sys/devices/pci/usb1/1-1/host1/block/sdb/device/vendor", "SanDisk \n");
    machine.put("sys/devices/pci/usb1/1-1/host1/block/sdb/device/model", "Ultra   \n");
    machine.put("sys/devices/pci/usb1/1-1/host1/block/sdb/removable", "1\n");
    let stick = machine.disk("8:16");
    assert_eq!(stick.uses, []);
    assert_eq!((stick.bus, stick.removable, stick.size, stick.sector), (Bus::Usb, true, 4096 * 512, 512));
    assert_eq!((stick.model.as_deref(), stick.serial.as_deref()), (Some("SanDisk Ultra"), Some("4C530001")));
    assert_eq!((stick.sequence, stick.partition_of.as_deref()), (Some(7), None));
    stick.preflight_for_any(&Consent::default()).unwrap();
    let disks = list(&machine.kernel()).unwrap();
    let names: Vec<&Path> = disks.iter().map(|disk| disk.path.as_path()).collect();
    assert_eq!(names, [Path::new("/dev/sda"), Path::new("/dev/sdb")]);
    assert_eq!(
        disks[0].partitions.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(),
        ["sda1", "sda2"]
    );
    assert_eq!((disks[0].bus, is_root(&disks[0])), (Bus::Sata, true));
}

#[test]
fn mounts_are_found_by_number_and_by_source() {
    let mut machine = machine();
    machine.mount("8:1", "/mnt\\0401", "ext4", "/dev/root", "rw");
    machine.mount("0:31", "/data", "somefs", "/dev/disk/by-id/usb-SanDisk", "rw");
    machine.files.insert("/dev/disk/by-id/usb-SanDisk".into(), number("8:16"));
    machine.mount("0:98", "/tmp", "tmpfs", "tmpfs", "rw");
    assert_eq!(machine.uses("8:0"), ["mounted at /mnt 1 (sda1)"]);
    assert_eq!(machine.uses("8:1"), ["mounted at /mnt 1"]);
    assert_eq!(machine.uses("8:2"), [] as [&str; 0]);
    assert_eq!(machine.uses("8:16"), ["mounted at /data"]);
}

#[test]
fn a_partition_of_a_disk_that_is_used_as_a_whole_is_used() {
    let mut machine = machine();
    machine.mount("8:0", "/mnt", "iso9660", "/dev/sda", "ro");
    assert_eq!(machine.uses("8:2"), ["mounted at /mnt (sda)"]);
}

#[test]
fn swap_is_a_use_on_partitions_and_in_files() {
    let mut machine = machine();
    machine.swaps.push_str("/dev/sda2 partition 1 0 -2\n/mnt/swap\\040file file 1 0 -3\n");
    machine.mount("8:16", "/mnt", "ext4", "/dev/sdb", "rw");
    assert_eq!(machine.uses("8:2"), ["swap"]);
    assert_eq!(machine.uses("8:0"), ["swap (sda2)"]);
    assert_eq!(machine.uses("8:16"), ["mounted at /mnt", "swap"]);
}

#[test]
fn a_device_on_top_of_a_disk_uses_it() {
    let mut machine = machine();
    machine.made_of("dm", "virtual/block/dm-0", "254:0", SDA1);
    assert_eq!(machine.uses("8:0"), ["dm-0 uses it (sda1)"]);
    assert_eq!(machine.uses("8:1"), ["dm-0 uses it"]);
    machine.mount("254:0", "/secret", "ext4", "/dev/mapper/secret", "rw");
    assert_eq!(machine.uses("8:0"), ["mounted at /secret (sda1, dm-0)"]);
    assert_eq!(list(&machine.kernel()).unwrap().len(), 2, "a disk made of others is not listed");
}

#[test]
fn the_root_is_found_through_luks_on_lvm() {
    let mut machine = machine();
    machine.made_of("dm", "virtual/block/dm-0", "254:0", SDA1);
    machine.made_of("dm", "virtual/block/dm-1", "254:1", "virtual/block/dm-0");
    machine.mount("254:1", "/", "ext4", "/dev/mapper/root", "rw");
    assert!(is_root(&machine.disk("8:0")) && is_root(&machine.disk("8:1")));
    assert!(!is_root(&machine.disk("8:16")) && !is_root(&machine.disk("8:2")));
    assert_eq!(
        machine.uses("8:0"),
        ["the root of the running system (sda1, dm-0, dm-1)", "mounted at / (sda1, dm-0, dm-1)"]
    );
}

#[test]
fn the_root_is_found_through_a_raid_with_partitions_and_through_bcache() {
    for (kind, name) in [("md", "md0"), ("bcache", "bcache0")] {
        let mut machine = machine();
        let folder = format!("virtual/block/{name}");
        machine.made_of(kind, &folder, "9:0", SDA1);
        machine.partition(&format!("{folder}/{name}p1"), "259:0");
        machine.mount("259:0", "/", "ext4", "/dev/root", "rw");
        assert!(is_root(&machine.disk("8:0")), "{kind}");
        assert!(!is_root(&machine.disk("8:16")), "{kind}");
    }
}

#[test]
fn the_root_is_found_through_a_loop_device() {
    let mut machine = machine();
    machine.mount("8:1", "/host", "vfat", "/dev/sda1", "rw");
    machine.loop_over("loop0", "7:0", "/host/system.img (deleted)");
    machine.mount("7:0", "/", "squashfs", "/dev/loop0", "ro");
    assert!(is_root(&machine.disk("8:0")));
    assert_eq!(machine.disk("7:0").bus, Bus::Loop);
    machine.loop_over("loop1", "7:1", "/dev/sdb");
    assert_eq!(machine.uses("8:16"), ["loop1 uses it"]);
}

#[test]
fn the_root_is_found_through_an_overlay_of_overlays() {
    let mut machine = machine();
    machine.mount("0:40", "/", "overlay", "overlay", "rw,lowerdir=/low:/mid/x,upperdir=/ram/up");
    machine.mount("0:41", "/ram", "tmpfs", "tmpfs", "rw");
    machine.mount("0:42", "/mid", "overlay", "overlay", "ro,lowerdir=/medium/a");
    machine.mount("8:16", "/medium", "iso9660", "/dev/sdb", "ro");
    assert!(is_root(&machine.disk("8:16")));
    assert!(!is_root(&machine.disk("8:0")));
}

#[test]
fn overlays_that_contain_each_other_do_not_loop() {
    let mut machine = machine();
    machine.mount("0:40", "/a", "overlay", "overlay", "rw,lowerdir=/b/x");
    machine.mount("0:41", "/b", "overlay", "overlay", "rw,lowerdir=/a/x");
    assert_eq!(machine.uses("8:0"), [] as [&str; 0]);
}

#[test]
fn the_root_is_found_on_each_disk_of_a_btrfs() {
    let mut machine = machine();
    machine.mount("0:30", "/", "btrfs", "/dev/sda2", "rw");
    for (name, at) in [("sda2", "8:2"), ("sdb", "8:16")] {
        machine.put(&format!("sys/fs/btrfs/9e3c/devices/{name}/dev"), &format!("{at}\n"));
    }
    assert!(is_root(&machine.disk("8:0")) && is_root(&machine.disk("8:16")));
    assert!(!is_root(&machine.disk("8:1")));
}

#[test]
fn without_a_readable_mount_table_no_disk_counts_as_free() {
    let machine = machine();
    let kernel = machine.kernel();
    fs::remove_file(machine.folder.path().join("proc/self/mountinfo")).unwrap();
    let error = System::read(&kernel).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    machine.put("proc/self/mountinfo", "36 35 8:0 / /mnt rw\n");
    let error = System::read(&kernel).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_file_that_is_not_a_device_is_not_a_disk() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path(), Path::new("/nowhere"), Path::new("/dev/null")] {
        let refusal = Disk::of(path).unwrap_err();
        assert!(matches!(refusal, Refusal::NoDisk { .. }), "{refusal}");
        assert_eq!(refusal.exit_code(), 80);
    }
}

/// The refusal of a disk in which only this one fact is changed.
fn refused(change: impl FnOnce(&mut Disk), purpose: &Purpose) -> (u8, String) {
    let mut disk = machine().disk("8:16");
    change(&mut disk);
    let all = Consent {
        fixed_disk: true,
        reassign: vec!["pi1".into()],
        overwrite: vec!["data".into()],
        serials: vec!["0001".into()],
    };
    let refusal = disk.preflight(purpose, &all).unwrap_err();
    assert_eq!(refusal.class(), crate::error::Class::Refused);
    (refusal.exit_code(), refusal.to_string())
}

#[test]
fn each_fact_refuses_a_disk_with_any_consent() {
    let folder = tempfile::tempdir().unwrap();
    let mut purpose = Purpose::new(folder.path(), "fleet", "pi1", 4096).unwrap();
    machine().disk("8:16").preflight(&purpose, &Consent::default()).unwrap();
    let used = |what| move |disk: &mut Disk| disk.uses.push(Use { what, through: vec!["sdb1".into()] });
    let mounted = What::Mounted("/mnt".into());
    let said = refused(|disk| disk.partition_of = Some("sdb".into()), &purpose);
    assert_eq!(said, (81, "/dev/it is a partition of sdb".into()));
    assert_eq!(refused(used(mounted), &purpose), (82, "/dev/it is in use: mounted at /mnt (sdb1)".into()));
    assert_eq!(refused(used(What::Swap), &purpose).0, 82);
    assert_eq!(refused(used(What::Held("dm-0".into())), &purpose).0, 82);
    assert_eq!(refused(used(What::Root), &purpose).0, 83);
    assert_eq!(refused(|disk| disk.size = 4095, &purpose).0, 84);
    assert_eq!(refused(|disk| disk.read_only = true, &purpose), (85, "/dev/it is read-only".into()));
    assert_eq!(refused(|disk| disk.sector = 4096, &purpose).0, 91);
    purpose = purpose.lying_on(number("8:16"));
    assert_eq!(refused(|_| (), &purpose).0, 86);
}

#[test]
fn a_fixed_disk_needs_consent() {
    let folder = tempfile::tempdir().unwrap();
    let purpose = Purpose::new(folder.path(), "fleet", "pi1", 4096).unwrap();
    let mut disk = machine().disk("8:16");
    disk.bus = Bus::Sata;
    let refusal = disk.preflight(&purpose, &Consent::default()).unwrap_err();
    assert_eq!((refusal.exit_code(), refusal.advice().unwrap().contains("--fixed-disk")), (87, true));
    disk.preflight(&purpose, &Consent { fixed_disk: true, ..Consent::default() }).unwrap();
    disk.removable = true;
    disk.preflight(&purpose, &Consent::default()).unwrap();
}

#[test]
fn a_partition_is_checked_by_the_same_facts() {
    let machine = machine();
    let free = machine.disk("8:2");
    let fixed = Consent { fixed_disk: true, ..Consent::default() };
    free.preflight_partition(&fixed).unwrap();
    let code = |disk: &Disk, consent: &Consent| disk.preflight_partition(consent).unwrap_err().exit_code();
    assert_eq!(code(&free, &Consent::default()), 87);
    assert_eq!(code(&machine.disk("8:0"), &fixed), 77);
    assert_eq!(code(&Disk { read_only: true, ..free.clone() }, &fixed), 85);
    let used = |what| vec![Use { what, through: Vec::new() }];
    assert_eq!(code(&Disk { uses: used(What::Swap), ..free.clone() }, &fixed), 82);
    assert_eq!(code(&Disk { uses: used(What::Root), ..free }, &fixed), 83);
}

#[test]
fn only_the_named_disk_is_confirmed() {
    let disk = machine().disk("8:16");
    let without = Disk { serial: None, ..disk.clone() };
    let short = Disk { serial: Some("A1".into()), ..disk.clone() };
    let said = |disk: &Disk, serials: &[&str], answer: Option<&str>| {
        let serials = serials.iter().map(|&tail| tail.to_owned()).collect();
        let consent = Consent { serials, ..Consent::default() };
        let held = Content {
            table: None,
            found: Vec::new(),
            kind: ContentKind::Other("photos".into()),
            data: None,
            table_faults: Vec::new(),
        };
        let result = confirm(disk, &held, &consent, &mut |question| {
            for fact in ["/dev/it", "2097152 bytes", "It has photos on it."] {
                assert!(question.contains(fact), "{question}");
            }
            Ok(answer.map(str::to_owned))
        });
        result.map_err(|refusal| {
            assert_eq!(refusal.exit_code(), 90);
            matches!(refusal, Refusal::OtherSerial { .. })
        })
    };
    for tail in ["0001", "c530001", "4C530001"] {
        assert_eq!(said(&disk, &["9999", tail], None), Ok(()), "{tail}");
        assert_eq!(said(&disk, &[], Some(&format!("{tail}\n"))), Ok(()), "{tail}");
    }
    // Too short, not at the end, of another disk; and without a terminal to ask at.
    for tail in ["001", "4C53", "9999", "2097152"] {
        assert_eq!(said(&disk, &[tail], Some("0001")), Err(true), "{tail}");
        assert_eq!(said(&disk, &[], Some(tail)), Err(true), "{tail}");
    }
    assert_eq!(said(&disk, &[""], None), Err(true));
    for answer in [None, Some(""), Some("\n")] {
        assert_eq!(said(&disk, &[], answer), Err(false));
        assert_eq!(said(&without, &[], answer), Err(false));
    }
    assert_eq!(said(&without, &["2097152"], None), Ok(()));
    assert_eq!(said(&without, &["7152"], None), Err(true));
    assert_eq!((said(&short, &["a1"], None), said(&short, &["1"], None)), (Ok(()), Err(true)));
}

#[test]
fn the_privileged_helper_checks_the_disk_itself() {
    let mut machine = machine();
    let twice = |path: &str| Asked { partition: false, fixed_disk: Some(path.into()) };
    let (whole, partition) = (Asked::default(), Asked { partition: true, ..Asked::default() });
    let refusal_code = |machine: &Machine, at: &str, asked: &Asked| {
        machine.disk(at).preflight_for_helper(asked).map_err(|refusal| refusal.exit_code())
    };
    // A whole stick on USB is allowed; a fixed disk only if it is named twice.
    assert_eq!(refusal_code(&machine, "8:16", &whole), Ok(()));
    assert_eq!(refusal_code(&machine, "8:0", &whole), Err(87));
    assert_eq!(refusal_code(&machine, "8:0", &twice("/dev/other")), Err(87));
    assert_eq!(refusal_code(&machine, "8:0", &twice("/dev/it")), Ok(()));
    assert_eq!(machine.disk("8:0").asked(), twice("/dev/it"));
    assert_eq!(machine.disk("8:16").asked(), whole);
    // A partition is allowed only if one is requested, and then not a disk with partitions.
    assert_eq!(refusal_code(&machine, "8:1", &twice("/dev/it")), Err(81));
    assert_eq!(refusal_code(&machine, "8:1", &partition), Err(87));
    assert_eq!(refusal_code(&machine, "8:1", &Asked { partition: true, ..twice("/dev/it") }), Ok(()));
    assert_eq!(refusal_code(&machine, "8:0", &Asked { partition: true, ..twice("/dev/it") }), Err(77));
    // A disk in use is not opened, whatever the request.
    machine.mount("8:1", "/", "ext4", "/dev/sda1", "rw");
    machine.mount("8:16", "/mnt", "ext4", "/dev/sdb", "rw");
    assert_eq!(refusal_code(&machine, "8:0", &twice("/dev/it")), Err(83));
    assert_eq!(refusal_code(&machine, "8:2", &Asked { partition: true, ..twice("/dev/it") }), Ok(()));
    assert_eq!(refusal_code(&machine, "8:16", &whole), Err(82));
}
