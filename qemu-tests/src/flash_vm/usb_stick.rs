//! A USB stick: its medium is a file of this machine, with a layer for faults between the two.

use super::server::{Fault, Server};
use anyhow::{Context as _, Result};
use builder::run::{Machine, Request};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// If there are no reads and writes for this long, the run has ended, even beside two other machines.
const STANDSTILL: Duration = Duration::from_secs(40);
/// How long QEMU may take to release a stick that was pulled out.
const LETTING_GO: Duration = Duration::from_secs(20);

/// A stick, in its own folder that is removed with it.
#[derive(Debug)]
pub struct UsbStick {
    folder: TempDir,
    serial: &'static str,
    /// Bytes of a sector: logical and physical.
    sectors: (u32, u32),
    worn: Vec<(Request, u64)>,
    logged: bool,
    server: Option<Server>,
}

impl UsbStick {
    /// A blank stick of this many bytes.
    pub fn blank(serial: &'static str, size: u64) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a stick")?;
        File::create(folder.path().join("medium"))?.set_len(size)?;
        Ok(Self { folder, serial, sectors: (512, 512), worn: Vec::new(), logged: false, server: None })
    }

    /// A stick with sectors of `logical` bytes on physical ones of `physical` bytes.
    #[must_use]
    pub fn with_sectors(self, logical: u32, physical: u32) -> Self {
        Self { sectors: (logical, physical), ..self }
    }

    /// A stick that cannot read or write the sector at this offset.
    #[must_use]
    pub fn worn(mut self, on: Request, offset: u64) -> Self {
        self.worn.push((on, offset));
        self
    }

    /// A stick whose writes are logged.
    pub fn logged(self) -> Result<Self> {
        File::create(self.log())?;
        Ok(Self { logged: true, ..self })
    }

    /// A stick with a faulty controller, which reports a size of `size` bytes.
    pub fn with_fault(self, size: u64, fault: Fault) -> Result<Self> {
        let server = Server::start(&self.medium(), &self.folder.path().join("socket"), size, fault)?;
        Ok(Self { server: Some(server), ..self })
    }

    /// The path of the file that is its medium.
    #[must_use]
    pub fn medium(&self) -> PathBuf {
        self.folder.path().join("medium")
    }

    /// The path of the log of its writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The stick's serial number.
    #[must_use]
    pub fn serial(&self) -> &'static str {
        self.serial
    }

    /// Makes its medium blank again. It must not be plugged in.
    pub fn wipe(&self) -> Result<()> {
        let size = fs::metadata(self.medium())?.len();
        let medium = File::options().write(true).open(self.medium())?;
        medium.set_len(0)?;
        Ok(medium.set_len(size)?)
    }

    /// Plugs the stick into the machine.
    pub fn insert(&self, machine: &Machine) -> Result<()> {
        let mut qmp = machine.qmp()?;
        qmp.execute("blockdev-add", &self.node())?;
        // QEMU's usb-storage always has sectors of 512 bytes; a usb-bot has a separate disk whose sectors can be set.
        let bridge = json!({"driver": "usb-bot", "bus": "usb.0", "id": self.serial, "serial": self.serial});
        qmp.execute("device_add", &bridge)?;
        let (logical, physical) = self.sectors;
        let disk = json!({
            "driver": "scsi-hd", "bus": format!("{}.0", self.serial), "scsi-id": 0, "lun": 0,
            "drive": self.serial, "removable": true, "write-cache": "on",
            "logical_block_size": logical, "physical_block_size": physical,
        });
        qmp.execute("device_add", &disk)?;
        let attach = json!({
            "path": format!("/machine/peripheral/{}", self.serial), "property": "attached", "value": true,
        });
        qmp.execute("qom-set", &attach)?;
        Ok(())
    }

    /// Bytes that were written to it and read from it since it was plugged in.
    pub fn traffic(&self, machine: &Machine) -> Result<u64> {
        let disks = machine.qmp()?.execute("query-blockstats", &json!({}))?;
        let disks = disks.as_array().context("no list of disks")?;
        let own =
            disks.iter().find(|disk| disk["node-name"] == self.serial).context("the stick is not there")?;
        let bytes = |name: &str| own["stats"][name].as_u64().with_context(|| format!("no {name}: {own}"));
        Ok(bytes("wr_bytes")? + bytes("rd_bytes")?)
    }

    /// Waits until this many bytes were read and written, or the traffic has stopped.
    pub fn wait_for_traffic(&self, machine: &Machine, bytes: u64) -> Result<()> {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let now = self.traffic(machine)?;
            if now > before {
                (before, since) = (now, Instant::now());
            }
            // The run was measured before, so it reaches this number unless it has ended.
            if now >= bytes || since.elapsed() > STANDSTILL {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Pulls the stick out, even while it is written.
    pub fn pull(&self, machine: &Machine) -> Result<()> {
        let mut qmp = machine.qmp()?;
        qmp.execute("device_del", &json!({"id": self.serial}))?;
        let end = Instant::now() + LETTING_GO;
        loop {
            match qmp.execute("blockdev-del", &json!({"node-name": self.serial})) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error).context("pulling out a stick"),
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
    }

    fn node(&self) -> Value {
        let file = |path: &Path| json!({"driver": "file", "filename": path});
        let mut node = match &self.server {
            Some(server) => json!({"driver": "nbd", "server": {"type": "unix", "path": server.socket()}}),
            None => file(&self.medium()),
        };
        if !self.worn.is_empty() {
            let errors: Vec<Value> = self.worn.iter().map(|(on, offset)| error(*on, *offset)).collect();
            node = json!({"driver": "blkdebug", "image": node, "inject-error": errors});
        }
        if self.logged {
            node = json!({"driver": "blklogwrites", "file": node, "log": file(&self.log())});
        }
        json!({"driver": "raw", "node-name": self.serial, "file": node, "discard": "unmap"})
    }
}

/// A rule for QEMU's `blkdebug`.
fn error(on: Request, offset: u64) -> Value {
    let on = match on {
        Request::Read => "read",
        Request::Write => "write",
    };
    json!({"event": "none", "iotype": on, "errno": 5, "sector": offset / 512})
}
