//! The systems in the slots, and whose signatures they and the seals must bear.

use super::is_empty;
use crate::boot::initramfs;
use crate::boot::uki::{Section, Uki};
use crate::image::reader::ImageReader;
use crate::image::slot::{self, CheckedUki, SlotError};
use crate::site::Site;
use handoff::name::Name;
use handoff::paths;
use handoff::slot::Slot;
use handoff::trust::Trust;
use handoff::verity::RootHash;
use keys::signature::{self, PublicKey};

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judge {
    pub(super) site: Name,
    pub(super) keys: Vec<PublicKey>,
}

impl Judge {
    /// The keys of a site.
    pub(super) fn of_site(site: &Site) -> Self {
        Self { site: site.id.clone(), keys: public_keys(&site.signing_keys) }
    }
}

fn public_keys(texts: &[String]) -> Vec<PublicKey> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// What the slots hold, read once.
pub(super) struct Slots([(Slot, Result<System, SlotError>); 2]);

struct System {
    uki: CheckedUki,
    root: Result<RootHash, String>,
    trust: Result<Trust, String>,
}

impl Slots {
    pub(super) fn read(image: &ImageReader) -> Self {
        Self(Slot::BOTH.map(|slot| (slot, slot::uki(image, slot).map(System::new))))
    }

    fn get(&self, wanted: Slot) -> Option<&Result<System, SlotError>> {
        self.0.iter().find(|(slot, _)| *slot == wanted).map(|(_, system)| system)
    }

    fn is_empty(&self, slot: Slot) -> bool {
        matches!(self.get(slot), Some(Err(error)) if is_empty(error))
    }

    /// The keys that the first whole system trusts.
    pub(super) fn own_judge(&self) -> Result<Judge, String> {
        let mut trusts = self.0.iter().filter_map(|(_, system)| system.as_ref().ok()?.trust.as_ref().ok());
        let trust = trusts.next().ok_or("no slot holds a system that says whom it trusts")?;
        Ok(Judge { site: trust.site.clone(), keys: public_keys(&trust.signing_keys) })
    }

    pub(super) fn root_hash(&self, slot: Slot) -> Option<RootHash> {
        self.get(slot)?.as_ref().ok()?.root.as_ref().ok().copied()
    }

    /// The UKI of a slot: as its record says, signed, and with a trust file and a root hash in it.
    pub(super) fn check(&self, slot: Slot, judge: &Result<Judge, String>) -> Result<String, String> {
        let system = match self.get(slot) {
            Some(Err(error)) if is_empty(error) && !self.is_empty(slot.other()) => return Ok("empty".into()),
            Some(system) => system.as_ref().map_err(ToString::to_string)?,
            None => return Err("was not read".into()),
        };
        let CheckedUki { record, bytes } = &system.uki;
        system.root.as_ref().map_err(Clone::clone)?;
        let trust = system.trust.as_ref().map_err(Clone::clone)?;
        let judge = judge.as_ref().map_err(|reason| format!("its signature cannot be judged: {reason}"))?;
        let signer = signature::verify(bytes, &record.signature, &judge.keys)
            .map_err(|error| format!("the UKI: {error}"))?;
        if trust.release != record.release || trust.site != judge.site {
            let (site, release) = (&trust.site, &trust.release);
            return Err(format!(
                "the UKI is release {release} of site {site}, the boot record says release {}, expected is site {}",
                record.release, judge.site
            ));
        }
        Ok(format!(
            "release {}, UKI of {} KiB, signed by {}",
            record.release,
            record.length >> 10,
            signer.id()
        ))
    }
}

impl System {
    fn new(uki: CheckedUki) -> Self {
        let root = uki.root_hash().map_err(|error| error.to_string());
        let trust = trust(&uki.bytes);
        Self { uki, root, trust }
    }
}

fn trust(uki: &[u8]) -> Result<Trust, String> {
    let uki = Uki::parse(uki).map_err(|error| error.to_string())?;
    let packed = uki.section(Section::Initrd).map_err(|error| error.to_string())?;
    let file = initramfs::file(packed, paths::TRUST.trim_start_matches('/'));
    let file = file.map_err(|error| format!("the initramfs in the UKI cannot be unpacked: {error}"))?;
    let file = file.ok_or("the initramfs in the UKI has no trust file")?;
    let text = String::from_utf8(file.content).map_err(|_| "the trust file in the UKI is no text")?;
    Trust::decode(&text).map_err(|error| format!("the trust file in the UKI: {error}"))
}
