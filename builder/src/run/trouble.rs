//! Faults of a machine to simulate: clocks, media and random sources as found in the field.

/// A sector that the medium cannot read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSector {
    /// The number of the disk, counted from 0.
    pub disk: usize,
    /// The number of the sector, of 512 bytes; `None` for all sectors.
    pub sector: Option<u64>,
    /// The operation that fails.
    pub on: Request,
}

/// An operation on a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// The faults of a machine; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    /// The time of the hardware clock when the machine is switched on (UTC, as in `1970-01-01T00:00:00`).
    pub clock: Option<String>,
    /// Whether neither the processor nor a device provides random numbers.
    pub no_entropy: bool,
    /// The bad sectors.
    pub bad_sectors: Vec<BadSector>,
    /// The highest rate of each disk in bytes per second, for reading and for writing.
    pub bytes_per_second: Option<u64>,
    /// Whether the first disk has no place in the boot order, so that firmware does not start from it by itself.
    pub passed_over: bool,
}

impl Trouble {
    /// The file part of a disk's options: with bad sectors, QEMU's `blkdebug` is between the file and the disk.
    pub(super) fn file_option(&self, disk: usize) -> String {
        let bad: Vec<&BadSector> = self.bad_sectors.iter().filter(|bad| bad.disk == disk).collect();
        if bad.is_empty() {
            return "file=".into();
        }
        let mut option = String::from("file.driver=blkdebug,");
        for (number, bad) in bad.iter().enumerate() {
            let on = match bad.on {
                Request::Read => "read",
                Request::Write => "write",
            };
            let rule = format!("file.inject-error.{number}");
            option.push_str(&format!("{rule}.event=none,{rule}.iotype={on},{rule}.errno=5,"));
            if let Some(sector) = bad.sector {
                option.push_str(&format!("{rule}.sector={sector},"));
            }
        }
        option + "file.image.filename="
    }

    pub(super) fn throttling(&self) -> String {
        let limit = |bytes: u64| format!("throttling.bps-total={bytes},");
        self.bytes_per_second.map(limit).unwrap_or_default()
    }
}
