//! What can be wrong with a machine: clocks, media and sources of randomness as they are found in the field.

/// A sector that the medium does not give or take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSector {
    /// Which of the machine's disks, counted from 0.
    pub disk: usize,
    /// The sector, of 512 bytes; none for all of them.
    pub sector: Option<u64>,
    /// What fails.
    pub on: Request,
}

/// What a medium is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// All that is wrong; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    /// What the hardware clock says when the machine is switched on (UTC, as in `1970-01-01T00:00:00`).
    pub clock: Option<String>,
    /// Neither the processor nor a device gives random numbers.
    pub no_entropy: bool,
    /// Worn sectors.
    pub bad_sectors: Vec<BadSector>,
    /// How many bytes a second each disk gives and takes at most.
    pub bytes_per_second: Option<u64>,
    /// The first disk stands in no boot order: firmware does not look at it by itself.
    pub passed_over: bool,
}

impl Trouble {
    /// The file part of a disk's options: QEMU's `blkdebug` between the file and the disk where sectors are bad.
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
