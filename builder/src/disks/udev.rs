//! What udev recognised on a disk when it was plugged in, for users who may not read the disk itself. It is only shown
//! and never used in a check: it may be outdated.

use super::Disk;
use super::kernel::text;
use super::number::Number;
use std::path::PathBuf;

impl Disk {
    /// The names that udev found on the disk and its partitions: labels, or else kinds of file systems or tables.
    #[must_use]
    pub fn seen_by_udev(&self) -> Vec<String> {
        let numbers =
            [self.number].into_iter().chain(self.partitions.iter().map(|partition| partition.number));
        numbers.filter_map(seen).collect()
    }
}

fn seen(number: Number) -> Option<String> {
    let properties = text(&PathBuf::from(format!("/run/udev/data/b{number}")))?;
    name(&properties)
}

fn name(properties: &str) -> Option<String> {
    let value = |key: &str| {
        let lines = properties.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        lines
            .filter(|(name, value)| *name == key && !value.is_empty())
            .map(|(_, value)| value.to_owned())
            .next()
    };
    value("ID_FS_LABEL").or_else(|| value("ID_FS_TYPE")).or_else(|| value("ID_PART_TABLE_TYPE"))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_label_comes_before_a_kind() {
        let text =
            "S:disk/by-id/x\nE:ID_FS_TYPE=ext4\nE:ID_PART_TABLE_TYPE=gpt\nE:ID_FS_LABEL=photos\nG:systemd\n";
        assert_eq!(name(text).as_deref(), Some("photos"));
        assert_eq!(name("E:ID_FS_LABEL=\nE:ID_FS_TYPE=vfat").as_deref(), Some("vfat"));
        assert_eq!(name("E:ID_PART_TABLE_TYPE=gpt").as_deref(), Some("gpt"));
        assert_eq!(name("E:DEVTYPE=disk"), None);
    }
}
