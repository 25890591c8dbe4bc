//! `psyops disks`: the disks of this machine, and which of them could become a stick.

use crate::disks::Disk;
use crate::disks::consent::Consent;
use crate::disks::content::{Content, ContentKind};
use crate::disks::hardware::Bus;
use crate::disks::refusal::Refusal;
use crate::error::{Classified as _, Error};
use crate::site::Site;
use charts::size;
use clap::Args;
use handoff::shown::Shown;
use nix::fcntl::OFlag;
use serde_json::{Value, json};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// List the disks of this machine, what is on them, what uses them, and whether flash would write them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops disks
  psyops disks --site fleet   also show which disks are sticks of this site's nodes
  sudo psyops disks --json    also read disks that only root may read

flash --serial takes the serial number, or the size in bytes, that is shown here. Nothing is
written.")]
pub struct DisksArgs {
    /// The site's folder, to recognise the sticks of its nodes
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The list of disks.
#[derive(Debug)]
pub struct DisksOutput {
    disks: Vec<Listed>,
    json: bool,
}

/// A disk, and what could be read from it.
#[derive(Debug)]
struct Listed {
    disk: Disk,
    /// The content of the disk, or why it is not known.
    content: Result<Content, String>,
    /// Why `flash` would refuse to write the disk, without further options.
    refusal: Option<Refusal>,
}

/// Runs the command.
pub fn run(args: &DisksArgs) -> Result<DisksOutput, Error> {
    let site = args.site.as_deref().map(Site::load).transpose()?.map(|site| site.id.to_string());
    let disks = Disk::list()?.into_iter().map(|disk| listed(disk, site.as_deref())).collect();
    Ok(DisksOutput { disks, json: args.json })
}

fn listed(disk: Disk, site: Option<&str>) -> Listed {
    // For a drive without a medium, opening would wait for one.
    let open = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&disk.path);
    let content = open.map_err(|error| error.to_string());
    let content =
        content.and_then(|file| Content::of(&disk.path, &file, disk.size).map_err(|error| error.to_string()));
    let checked = disk.preflight_for_any(&Consent::default()).and_then(|()| match &content {
        Ok(content) => content.preflight_for_any(&disk.path, site),
        Err(_) => Ok(()),
    });
    Listed { refusal: checked.err(), disk, content }
}

impl Listed {
    fn to_json(&self) -> Value {
        let Self { disk, content, refusal } = self;
        let names = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>();
        json!({
            "path": disk.path.display().to_string(),
            "name": disk.name,
            "number": disk.number.to_string(),
            "size": disk.size,
            "sector": disk.sector,
            "model": disk.model,
            "serial": disk.serial,
            "bus": disk.bus,
            "removable": disk.removable,
            "read_only": disk.read_only,
            "partitions": names(&mut disk.partitions.iter().map(|partition| partition.name.clone())),
            "uses": names(&mut disk.uses.iter().map(ToString::to_string)),
            "content": content.as_ref().ok().map(content_to_json),
            "unreadable": content.as_ref().err(),
            "seen_by_udev": if content.is_err() { disk.seen_by_udev() } else { Vec::new() },
            "flash": self.is_known().then_some(refusal.is_none()),
            "refusal": refusal.as_ref().map(|refusal| json!({
                "code": refusal.exit_code(),
                "message": refusal.to_string(),
                "advice": refusal.advice(),
            })),
        })
    }

    /// Whether enough is known to tell whether `flash` would write the disk.
    fn is_known(&self) -> bool {
        self.refusal.is_some() || self.content.is_ok()
    }

    fn holds(&self) -> String {
        let content = match &self.content {
            Ok(content) => content,
            Err(reason) => {
                let seen = self.disk.seen_by_udev();
                let seen =
                    if seen.is_empty() { String::new() } else { format!("; udev saw {}", seen.join(", ")) };
                return format!("not known: {reason}{seen}");
            }
        };
        content.description()
    }

    fn verdict(&self) -> String {
        match &self.refusal {
            Some(refusal) => {
                let advice = refusal.advice().map_or(String::new(), |advice| format!("; {advice}"));
                format!("would refuse it: {refusal}{advice}")
            }
            None if self.content.is_err() => "not known until it is read".to_owned(),
            None => "would write it".to_owned(),
        }
    }
}

fn content_to_json(content: &Content) -> Value {
    let (kind, site, node) = match &content.kind {
        ContentKind::Blank => ("blank", None, None),
        ContentKind::Stick { site, node } => ("stick", Some(site), Some(node)),
        ContentKind::OldSecrets => ("secrets", None, None),
        ContentKind::Other(_) => ("other", None, None),
    };
    let found = content.found.iter().map(|found| {
        json!({"partition": found.partition, "size": found.size, "label": found.label, "type": found.kind})
    });
    json!({
        "kind": kind,
        "name": content.kind.name(),
        "site": site,
        "node": node,
        "data": content.data,
        "table": content.table,
        "found": found.collect::<Vec<_>>(),
        "table_faults": content.table_faults,
    })
}

impl fmt::Display for DisksOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            let disks: Vec<Value> = self.disks.iter().map(Listed::to_json).collect();
            return write!(f, "{:#}", json!({"format": 1, "disks": disks}));
        }
        if self.disks.is_empty() {
            return f.write_str("there are no disks");
        }
        for listed in &self.disks {
            let disk = &listed.disk;
            let model = disk.model.as_deref().unwrap_or("no model name");
            let bus = if disk.bus == Bus::Other { String::new() } else { format!(", {}", disk.bus) };
            let removable = if disk.removable { ", removable" } else { "" };
            writeln!(f, "{}  {}{bus}{removable}", Shown(disk.path.display()), Shown(model))?;
            writeln!(f, "  serial  {}", Shown(disk.serial.as_deref().unwrap_or("none")))?;
            writeln!(f, "  size    {} ({} bytes)", size(disk.size), disk.size)?;
            writeln!(f, "  content {}", Shown(listed.holds()))?;
            for fault in listed.content.iter().flat_map(|content| &content.table_faults) {
                writeln!(f, "  table   {}", Shown(fault))?;
            }
            for found in &disk.uses {
                writeln!(f, "  used    {}", Shown(found))?;
            }
            writeln!(f, "  flash   {}", Shown(listed.verdict()))?;
        }
        Ok(())
    }
}
