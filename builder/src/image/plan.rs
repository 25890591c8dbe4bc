//! The place of each partition: decided from the site's sizes and the contents' sizes before a byte is written.
//!
//! Pure. All partitions begin at a multiple of 1 MiB, which fits every medium's erase block and sector size.

use crate::error::{Class, Classified};
use crate::limits::{self, OverLimit};
use crate::site::{Bytes, SizeSpec, Sizes};
use handoff::boot_record;
use handoff::control;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::{BLOCK, Superblock};
use thiserror::Error;

/// All partitions begin and end at a multiple of this many bytes.
pub const ALIGNMENT: Bytes = Bytes::mib(1);
/// The smallest ESP: FAT32 needs 65,525 clusters; with clusters of one sector that is 32.5 MiB with both FATs.
pub const SMALLEST_ESP: Bytes = Bytes::mib(33);
/// The part of the ESP that is not for the selector, 1/32: reserved sectors, folders, and both FATs, in which a sector
/// covers 128 clusters.
const ESP_OVERHEAD_SHARE: u64 = 32;

/// The sizes of the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The size of the selector.
    pub selector: Bytes,
    /// The size of the UKI.
    pub uki: Bytes,
    /// The size of the root's squashfs.
    pub root: Bytes,
    /// The size of the seal.
    pub seal: Bytes,
    /// The size of the secret partition's file system.
    pub secret: Bytes,
}

/// A planned partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The role of the partition.
    pub role: Role,
    /// The offset on the disk.
    pub offset: Bytes,
    /// The size of the partition.
    pub size: Bytes,
}

/// The plan of the whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The size of the image.
    pub disk_size: Bytes,
    /// The partitions in their order on the disk.
    pub partitions: Vec<Partition>,
}

/// Why the contents do not fit.
#[derive(Debug, Error, Clone, PartialEq, Eq, classified::Cause)]
pub enum PlanError {
    /// A content is larger than its partition.
    #[error("{what} has {need} bytes, {} is larger than the partition {role} of {size}", spell(*need))]
    DoesNotFit {
        /// The content, as a noun with an article.
        what: &'static str,
        /// The role of its partition.
        role: Role,
        /// The bytes that the content needs there.
        need: u64,
        /// The size of the partition in the site.
        size: Bytes,
    },
    /// The ESP is smaller than FAT32 allows.
    #[error("an ESP of {size} is too small: FAT32 begins at {SMALLEST_ESP}")]
    EspTooSmall {
        /// The size of the ESP in the site.
        size: Bytes,
    },
    /// A partition is larger than a node's or the builder's reader accepts.
    #[error("the partition {role}: {over}")]
    OverLimit {
        /// The role of the partition.
        role: Role,
        /// The limit, and the size of the partition.
        over: OverLimit,
    },
    /// The sum of the sizes is more than a disk can have.
    #[error("the sum of the partition sizes is too large; make them smaller under [sizes] in site.toml")]
    TooLarge,
}

fn spell(bytes: u64) -> String {
    let tenths = bytes.div_ceil((1 << 20) / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

impl Classified for PlanError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::BadContent)
    }

    fn own_advice(&self) -> Option<String> {
        let (key, least) = match self {
            Self::DoesNotFit { role, need, .. } => (size_key(*role), round_up(Bytes(*need)).ok()?),
            Self::EspTooSmall { .. } => ("esp", SMALLEST_ESP),
            Self::OverLimit { role, over } => {
                let (key, most) = (size_key(*role), over.limit.most >> 20);
                return Some(format!("in site.toml, under [sizes], {key} can be \"{most}MiB\" at most"));
            }
            Self::TooLarge => return None,
        };
        Some(format!("in site.toml, under [sizes], set {key} = \"{least}\" or more"))
    }
}

/// The key in `site.toml` for the size of a partition.
fn size_key(role: Role) -> &'static str {
    match role {
        Role::Esp => "esp",
        Role::Control => "control",
        Role::Boot(_) => "boot",
        Role::Root(_) => "root",
        Role::Verity(_) => "verity",
        Role::Seal(_) => "seal",
        Role::Secret => "secret",
        Role::Data => "data",
    }
}

impl Plan {
    /// The partition with this role.
    #[must_use]
    pub fn partition(&self, role: Role) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.role == role)
    }
}

/// Plans a disk.
pub fn plan(sizes: &Sizes, contents: &Contents) -> Result<Plan, PlanError> {
    let wanted = wanted_sizes(sizes, contents)?;
    let mut offset = ALIGNMENT;
    let mut partitions = Vec::new();
    for role in Role::ALL {
        let Some(size) = wanted.of(role) else { continue };
        let size = round_up(size)?;
        partitions.push(Partition { role, offset, size });
        offset = add(offset, size)?;
    }
    // The backup table is in the last 33 sectors; a whole MiB for them keeps the disk's size round.
    let plan = Plan { disk_size: add(offset, ALIGNMENT)?, partitions };
    check(&plan, contents)?;
    Ok(plan)
}

struct Wanted<'a> {
    sizes: &'a Sizes,
    root: Bytes,
    verity: Bytes,
}

impl Wanted<'_> {
    fn of(&self, role: Role) -> Option<Bytes> {
        Some(match role {
            Role::Esp => self.sizes.esp,
            Role::Control => Bytes(control::PARTITION_SIZE),
            Role::Boot(_) => self.sizes.boot,
            Role::Root(_) => self.root,
            Role::Verity(_) => self.verity,
            Role::Seal(_) => self.sizes.seal,
            Role::Secret => self.sizes.secret,
            Role::Data => return self.sizes.data,
        })
    }
}

fn wanted_sizes<'a>(sizes: &'a Sizes, contents: &Contents) -> Result<Wanted<'a>, PlanError> {
    if sizes.esp < SMALLEST_ESP {
        return Err(PlanError::EspTooSmall { size: sizes.esp });
    }
    let root = match sizes.root {
        SizeSpec::Fixed(size) => size,
        // Leaves space for the next release in the same slot.
        SizeSpec::Auto => add(contents.root, Bytes(contents.root.0 / 4))?,
    };
    let verity = match sizes.verity {
        SizeSpec::Fixed(size) => size,
        SizeSpec::Auto => verity_size(round_up(root)?),
    };
    Ok(Wanted { sizes, root, verity })
}

/// The size of the hash tree over `data` bytes.
#[must_use]
pub fn verity_size(data: Bytes) -> Bytes {
    let blocks = data.0.div_ceil(BLOCK).max(1);
    Bytes(Superblock { uuid: [0; 16], data_blocks: blocks, salt: [0; 32] }.hash_device_size())
}

fn check(plan: &Plan, contents: &Contents) -> Result<(), PlanError> {
    let a = Slot::A;
    let partition = |role| plan.partition(role).map_or(0, |partition| partition.size.0);
    for (role, limit, found) in [
        (Role::Esp, &limits::ESP, partition(Role::Esp)),
        (Role::Boot(a), &limits::UKI, contents.uki.0),
        (Role::Root(a), &limits::ROOT, contents.root.0),
        (Role::Seal(a), &limits::SEAL, partition(Role::Seal(a))),
        (Role::Secret, &limits::SECRET, partition(Role::Secret)),
    ] {
        limit.check(found).map_err(|over| PlanError::OverLimit { role, over })?;
    }
    let record = Bytes(boot_record::SIZE_U64);
    let esp = plan.partition(Role::Esp).map_or(0, |partition| partition.size.0);
    for (what, role, need) in [
        (
            "the selector with its file system",
            Role::Esp,
            add(contents.selector, Bytes(esp / ESP_OVERHEAD_SHARE))?,
        ),
        ("the UKI with its boot record", Role::Boot(a), add(contents.uki, record)?),
        ("the root", Role::Root(a), contents.root),
        ("the root's hash tree", Role::Verity(a), verity_size(contents.root)),
        ("the seal", Role::Seal(a), contents.seal),
        ("the secret partition's file system", Role::Secret, contents.secret),
    ] {
        let size = plan.partition(role).map_or(Bytes(0), |partition| partition.size);
        if need > size {
            return Err(PlanError::DoesNotFit { what, role, need: need.0, size });
        }
    }
    Ok(())
}

fn add(a: Bytes, b: Bytes) -> Result<Bytes, PlanError> {
    a.0.checked_add(b.0).map(Bytes).ok_or(PlanError::TooLarge)
}

fn round_up(size: Bytes) -> Result<Bytes, PlanError> {
    size.0.checked_next_multiple_of(ALIGNMENT.0).map(Bytes).ok_or(PlanError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            selector: Bytes(30_000),
            uki: Bytes::mib(12),
            root: Bytes::mib(100),
            seal: Bytes(5000),
            secret: Bytes::mib(16),
        }
    }

    #[test]
    fn partitions_follow_each_other_at_whole_mebibytes() {
        let plan = plan(&Sizes::default(), &contents()).unwrap();
        let mut end = ALIGNMENT;
        for partition in &plan.partitions {
            assert_eq!(partition.offset, end, "{}", partition.role);
            assert_eq!(partition.size.0 % ALIGNMENT.0, 0, "{}", partition.role);
            end = Bytes(end.0 + partition.size.0);
        }
        assert_eq!(plan.disk_size.0, end.0 + ALIGNMENT.0);
        assert_eq!(plan.partition(Role::Root(Slot::A)).unwrap().size, Bytes::mib(125));
        assert_eq!(plan.partition(Role::Root(Slot::B)).unwrap().size, Bytes::mib(125));
        assert_eq!(plan.partition(Role::Data), None);
        // The hash tree of a root that fills its partition fits.
        let verity = plan.partition(Role::Verity(Slot::A)).unwrap().size;
        assert!(verity >= verity_size(Bytes::mib(125)));
    }

    #[test]
    fn content_that_does_not_fit_is_reported_with_sizes() {
        let grown = |change: fn(&mut Contents)| {
            let mut contents = contents();
            change(&mut contents);
            plan(&Sizes::default(), &contents).unwrap_err()
        };
        let role = |error: &PlanError| match error {
            PlanError::DoesNotFit { role, .. } => *role,
            other => panic!("{other}"),
        };
        assert_eq!(role(&grown(|c| c.selector = Bytes::mib(63))), Role::Esp);
        assert_eq!(role(&grown(|c| c.seal = Bytes(1 << 21))), Role::Seal(Slot::A));
        assert_eq!(role(&grown(|c| c.secret = Bytes::mib(17))), Role::Secret);
        let error = grown(|c| c.uki = Bytes::mib(64));
        let expected = PlanError::DoesNotFit {
            what: "the UKI with its boot record",
            role: Role::Boot(Slot::A),
            need: (64 << 20) + 4096,
            size: Bytes::mib(64),
        };
        assert_eq!(error, expected);
        assert_eq!(error.advice().unwrap(), "in site.toml, under [sizes], set boot = \"65MiB\" or more");
    }

    #[test]
    fn fixed_sizes_are_kept_and_checked() {
        let sizes = Sizes { root: SizeSpec::Fixed(Bytes::mib(99)), ..Sizes::default() };
        let error = plan(&sizes, &contents()).unwrap_err();
        assert!(matches!(error, PlanError::DoesNotFit { role: Role::Root(_), .. }), "{error}");
        let sizes = Sizes {
            verity: SizeSpec::Fixed(Bytes(4096)),
            root: SizeSpec::Fixed(Bytes::mib(500)),
            ..Sizes::default()
        };
        let plan = plan(&sizes, &Contents { root: Bytes::mib(1), ..contents() }).unwrap();
        assert_eq!(plan.partition(Role::Verity(Slot::A)).unwrap().size, ALIGNMENT);
    }

    #[test]
    fn a_plan_over_the_limits_of_the_readers_is_refused() {
        let sizes = Sizes { seal: Bytes::mib(65), ..Sizes::default() };
        let error = plan(&sizes, &contents()).unwrap_err();
        let over = OverLimit { limit: &limits::SEAL, found: 65 << 20 };
        assert_eq!(error, PlanError::OverLimit { role: Role::Seal(Slot::A), over });
        assert_eq!(error.advice().unwrap(), "in site.toml, under [sizes], seal can be \"64MiB\" at most");
    }

    #[test]
    fn an_esp_below_fat32_is_refused() {
        let sizes = Sizes { esp: Bytes::mib(32), ..Sizes::default() };
        assert_eq!(plan(&sizes, &contents()), Err(PlanError::EspTooSmall { size: Bytes::mib(32) }));
    }
}
