//! The table of [`super::damage_tests`]: each damage, and what each command reports about it.

use handoff::partition::Role;
use handoff::slot::Slot;

pub(super) const BOOT: Role = Role::Boot(Slot::A);
const ROOT: Role = Role::Root(Slot::A);
const VERITY: Role = Role::Verity(Slot::A);
pub(super) const SEAL: Role = Role::Seal(Slot::A);

/// The position of a byte in the image.
#[derive(Debug, Clone, Copy)]
pub(super) enum DamagePlace {
    /// An offset from the beginning of the image.
    Disk(u64),
    /// An offset from the end of the image.
    End(u64),
    /// An offset in a partition.
    In(Role, u64),
    /// An offset from the end of a partition.
    InEnd(Role, u64),
    /// So many quarters of the way into the UKI.
    Uki(u64),
    /// After these words in the seal.
    Seal(&'static str),
    /// In the second allocation table of the ESP.
    SecondTable,
    /// In the first folder of the ESP.
    Folder(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Damage {
    /// A bit of this byte is flipped.
    Flip(DamagePlace),
    /// The image ends before this byte.
    Cut(DamagePlace),
}

use Damage::{Cut, Flip};
use DamagePlace::{Disk, End, Folder, In, InEnd, SecondTable, Uki};

/// The expected reports of a damage.
pub(super) struct Case {
    pub(super) damage: Damage,
    /// Words in a warning of `inspect`; empty if it does not read this part.
    pub(super) inspect: &'static str,
    /// The part that `verify` reports as bad, and words of its message.
    pub(super) verify: (&'static str, &'static str),
    /// The parts that `ls` and `cat` cannot read, and words of their errors; they must read all others.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Words in the output of `diff` with the whole image; followed by the exit code if that is not 65.
    pub(super) diff: &'static str,
}

const fn case(
    damage: Damage,
    inspect: &'static str,
    verify: (&'static str, &'static str),
    files: &'static [(&'static str, &'static str)],
    diff: &'static str,
) -> Case {
    Case { damage, inspect, verify, files, diff }
}

const TABLE: &str = "partition table";
const NO_SYSTEM: &str = "slot a has no system";

pub(super) fn flips() -> Vec<Case> {
    let mut cases = tables_and_esp();
    cases.extend(systems());
    cases.extend(seals_and_secret());
    cases
}

/// A case with the same words for all commands.
fn mbr(at: u64, words: &'static str) -> Case {
    case(Flip(Disk(at)), words, (TABLE, words), &[], words)
}

/// Both boot sectors are compared before the first is used.
fn boot_sector(at: u64, verify: &'static str) -> Case {
    let words = "its boot sector and the copy of it in sector 6 differ";
    case(
        Flip(In(Role::Esp, at)),
        words,
        ("esp", verify),
        &[("esp", "the ESP cannot be read: its boot sector")],
        words,
    )
}

fn tables_and_esp() -> Vec<Case> {
    let primary = "the primary partition table is damaged: ";
    let backup = "the backup partition table is damaged: ";
    let mut cases = vec![
        mbr(0, "the protective MBR is damaged at byte 0"),
        mbr(446, "the protective MBR is damaged at byte 446"),
        mbr(450, "the protective MBR is damaged at byte 450"),
        mbr(458, "the protective MBR is damaged at byte 458"),
        mbr(511, "the protective MBR is damaged at byte 511"),
        case(Flip(Disk(512)), primary, (TABLE, "damaged: no GPT; the backup is used"), &[], primary),
        case(Flip(Disk(512 + 32)), primary, (TABLE, "GPT header damaged: its checksum is "), &[], primary),
        case(
            Flip(Disk(1024 + 128 * 3 + 32)),
            primary,
            (TABLE, "GPT entries damaged: their checksum is "),
            &[],
            primary,
        ),
        case(Flip(End(512 - 72)), backup, (TABLE, backup), &[], backup),
        case(
            Flip(End(33 * 512 - 40)),
            backup,
            (TABLE, "GPT entries damaged: their checksum is "),
            &[],
            backup,
        ),
        boot_sector(0, "byte 0 differs from what the builder wrote"),
        boot_sector(3, "byte 3 differs from what the builder wrote"),
        boot_sector(11, "BPB_BytsPerSec is 528, expected is 512"),
        boot_sector(13, "BPB_SecPerClus is 17, expected is a power of two"),
        boot_sector(36, "the selector cannot be read"),
        boot_sector(48, "BPB_FSInfo is 17, expected is 1"),
        boot_sector(67, "byte 3139 differs from what the builder wrote"),
        boot_sector(510, "Signature_word is 43589, expected is 43605"),
        boot_sector(6 * 512, "byte 3072 differs from what the builder wrote"),
    ];
    let tables = "its two file allocation tables differ";
    cases.extend([
        case(
            Flip(In(Role::Esp, 512)),
            "esp: its FSInfo sector does not begin with FSI_LeadSig",
            ("esp", "FSI_LeadSig"),
            &[("esp", "FSI_LeadSig")],
            "FSI_LeadSig",
        ),
        case(
            Flip(In(Role::Esp, 8 * 512)),
            tables,
            ("esp", "byte 4096 differs"),
            &[("esp", "first at byte 0;")],
            tables,
        ),
        case(
            Flip(In(Role::Esp, 8 * 512 + 8)),
            tables,
            ("esp", "the chain of its top folder leads to cluster 268435439, which does not exist"),
            &[("esp", "first at byte 8;")],
            tables,
        ),
        case(
            Flip(SecondTable),
            tables,
            ("esp", "differs from what the builder wrote"),
            &[("esp", "first at byte 12;")],
            tables,
        ),
        // The name of the folder `EFI`.
        case(
            Flip(Folder(32)),
            "there is no EFI/BOOT/BOOTX64.EFI on it",
            ("esp", "cannot be read"),
            &[("esp", "there is no esp/EFI/BOOT")],
            "1: - EFI/BOOT/BOOTX64.EFI",
        ),
    ]);
    cases
}

fn systems() -> Vec<Case> {
    let uki = "slot a: the UKI has the SHA-256";
    let no_uki: &[_] = &[("initramfs", NO_SYSTEM), ("root", "the UKI has the SHA-256")];
    let record = "slot a: boot record damaged";
    let no_record: &[_] = &[("initramfs", "boot record damaged"), ("root", NO_SYSTEM)];
    let tree = "slot a: the hash tree in verity-a does not match the root hash";
    let superblock = |at, words| {
        case(Flip(In(VERITY, at)), tree, ("root-a", words), &[("root", "the root cannot be read")], tree)
    };
    let data = |at, words, files| {
        case(Flip(In(ROOT, at)), "", ("root-a", words), files, "0: the same: packages-a, root-a")
    };
    let control = |at, words| case(Flip(In(Role::Control, at)), words, ("control", words), &[], words);
    vec![
        control(0, "record 0: no control record: it does not begin with"),
        control(30, "record 0: control record damaged or written in part"),
        control(4096, "record 1: no control record: it does not begin with"),
        control(8191, "record 1: control record damaged or written in part"),
        case(Flip(Uki(0)), uki, ("boot-a", "the UKI has"), no_uki, uki),
        case(Flip(Uki(1)), uki, ("boot-a", "the UKI has"), no_uki, uki),
        case(Flip(Uki(2)), uki, ("boot-a", "the UKI has"), no_uki, uki),
        case(Flip(Uki(3)), uki, ("boot-a", "the UKI has"), no_uki, uki),
        case(
            Flip(InEnd(BOOT, 4096)),
            "slot a: no boot record",
            ("boot-a", "no boot record"),
            &[("initramfs", "no boot record"), ("root", "no boot record")],
            "slot a: no boot record",
        ),
        case(Flip(InEnd(BOOT, 4096 - 9)), record, ("boot-a", "boot record damaged"), no_record, record),
        case(Flip(InEnd(BOOT, 4096 - 100)), record, ("boot-a", "boot record damaged"), no_record, record),
        case(Flip(InEnd(BOOT, 1)), record, ("boot-a", "boot record damaged"), no_record, record),
        data(0, "block 0 of its data", &[("root", "the root cannot be read: block 0 of its data")]),
        data(9000, "block 2 of its data", &[("root", "block 2 of its data")]),
        data(5000, "block 1 of its data", &[("root", "block 1 of its data")]),
        data(60_000, "block 14 of its data", &[("root", "block 14 of its data")]),
        superblock(0, "no dm-verity superblock"),
        superblock(8, "unsupported version"),
        superblock(12, "unsupported hash type"),
        superblock(32, "unsupported hash algorithm"),
        superblock(64, "unsupported data block size"),
        superblock(68, "unsupported hash block size"),
        superblock(74, "it is for a root of"),
        superblock(88, "its top block hashes to"),
        superblock(4096, "its top block hashes to"),
    ]
}

fn seals_and_secret() -> Vec<Case> {
    let no_seal = "there is no seal: the node could not open its secrets";
    let seal = |place, words| case(Flip(place), words, ("seal-a", words), &[], words);
    let signature = |place, words| case(Flip(place), "", ("seal-a", words), &[], "1: ~ seal-a: ");
    let secret = |at, inspect, words, files, diff| {
        case(Flip(In(Role::Secret, at)), inspect, ("secret", words), files, diff)
    };
    let unreadable: &[_] = &[("secret", "the secret partition cannot be read: ")];
    vec![
        case(Flip(In(SEAL, 0)), no_seal, ("seal-a", "this is not a seal"), &[], "this is not a seal"),
        seal(DamagePlace::Seal("\nnode"), "header: \"node\" is expected, not"),
        seal(DamagePlace::Seal("recipient: age1"), "is not an age public key"),
        seal(DamagePlace::Seal("\nserial: "), "field \"serial\""),
        seal(In(SEAL, 9000), "there is data after the seal, at byte 9000"),
        signature(DamagePlace::Seal("--- mac"), "changed after signing"),
        signature(DamagePlace::Seal("\nR"), "a line is damaged"),
        secret(1024 + 4, "", "e2fsck finds errors: ", &[], "1: ~ secret"),
        secret(
            1024 + 56,
            "secret partition has no ext4",
            "Bad magic number in super-block",
            unreadable,
            "damaged in B: secret: it has no ext4",
        ),
        secret(
            1024 + 96,
            "unsupported features",
            "e2fsck finds errors: ",
            unreadable,
            "unsupported features",
        ),
        secret(2048 + 8, "", "e2fsck finds errors: ", unreadable, "1: ~ secret"),
    ]
}

pub(super) fn cuts() -> Vec<Case> {
    const NO_SECRET: (&str, &str) = ("secret", "cannot read partition secret of");
    const NO_ROOT: (&str, &str) = ("root", "cannot read partition verity-a of");
    let backup = "the backup partition table is damaged: it would end at byte ";
    let table = |end| case(Cut(End(end)), backup, (TABLE, "the image is cut off"), &[], "but there are only");
    let part = |role, at, inspect, verify, files, diff| case(Cut(In(role, at)), inspect, verify, files, diff);
    let mib = 1 << 20;
    vec![
        table(1),
        table(512),
        table(17 * 512),
        table(34 * 512),
        part(
            Role::Secret,
            mib,
            "cannot read partition secret",
            ("secret", "cannot read partition secret"),
            &[NO_SECRET],
            "B: secret: cannot read",
        ),
        part(
            Role::Seal(Slot::B),
            100,
            "seal-b: cannot read partition seal-b",
            ("seal-b", "cannot read partition seal-b"),
            &[NO_SECRET],
            "B: seal-b: cannot read",
        ),
        part(
            SEAL,
            100,
            "seal-a: cannot read partition seal-a",
            ("seal-a", "cannot read partition seal-a"),
            &[NO_SECRET],
            "B: seal-a: cannot read",
        ),
        part(
            Role::Verity(Slot::B),
            5000,
            "there is no seal",
            ("seal-a", "cannot read"),
            &[NO_SECRET],
            "B: seal-a: cannot read",
        ),
        part(
            Role::Root(Slot::B),
            5000,
            "there is no seal",
            ("seal-a", "cannot read"),
            &[NO_SECRET],
            "B: seal-a: cannot read",
        ),
        part(
            Role::Boot(Slot::B),
            mib,
            "slot b: cannot read partition boot-b",
            ("boot-b", "cannot read"),
            &[NO_SECRET],
            "B: slot b: cannot read",
        ),
        part(
            VERITY,
            5000,
            "slot a: cannot read partition verity-a",
            ("root-a", "cannot read partition verity-a"),
            &[NO_SECRET, NO_ROOT],
            "B: slot a: cannot read",
        ),
        part(
            ROOT,
            5000,
            "slot a: cannot read partition verity-a",
            ("root-a", "cannot read partition verity-a"),
            &[NO_SECRET, NO_ROOT],
            "B: slot a: cannot read",
        ),
        part(
            BOOT,
            1000,
            "slot a: cannot read partition boot-a",
            ("boot-a", "cannot read partition boot-a"),
            &[NO_SECRET, ("initramfs", "cannot read partition boot-a"), ("root", NO_SYSTEM)],
            "B: slot a: cannot read",
        ),
        part(
            Role::Control,
            4096,
            "cannot read partition control",
            ("control", "cannot read partition control"),
            &[NO_SECRET, ("initramfs", NO_SYSTEM), ("root", NO_SYSTEM)],
            "B: control: cannot read",
        ),
        part(
            Role::Esp,
            30 * mib,
            "esp: cannot read partition esp",
            ("esp", "cannot read partition esp"),
            &[NO_SECRET, ("initramfs", NO_SYSTEM), ("root", NO_SYSTEM), ("esp", "cannot read partition esp")],
            "B: esp: cannot read",
        ),
    ]
}
