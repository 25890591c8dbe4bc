//! The systems in the slots, and the keys that must have signed them and the seals.

use super::is_empty;
use crate::boot::initramfs_reader;
use crate::boot::uki::{Section, Uki};
use crate::image::reader::ImageReader;
use crate::image::seals::{self, NewestSeal};
use crate::image::slot::{self, CheckedUki, SlotError, start_order};
use crate::limits;
use crate::site::Site;
use handoff::boot_record::BootRecord;
use handoff::loader_config::LoaderConfig;
use handoff::name::Name;
use handoff::paths;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use keys::signature::{self, BadPublicKey, KeyId, PublicKey};

/// The keys whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrustedKeys {
    pub(super) site: Name,
    pub(super) keys: Vec<PublicKey>,
}

impl TrustedKeys {
    /// The keys of a site.
    pub(super) fn of_site(site: &Site) -> Self {
        Self { site: site.id.clone(), keys: site.signing_keys.clone() }
    }
}

/// The configuration of a system's loader, and the keys in it.
pub(super) struct Trusted {
    pub(super) config: LoaderConfig,
    pub(super) keys: Vec<PublicKey>,
}

/// The content of the slots. Only one UKI at a time is in memory.
pub(super) struct Slots {
    systems: Vec<(Slot, Result<System, SlotError>)>,
    trusted: Result<TrustedKeys, String>,
}

struct System {
    record: BootRecord,
    root: Result<RootHash, String>,
    trust: Result<Trusted, String>,
    signer: Result<KeyId, String>,
}

impl Slots {
    /// Reads both slots. If keys are given, a UKI is only unpacked after its signature was verified. Otherwise the keys
    /// are in the UKI itself: those that the first whole system trusts are used.
    pub(super) fn read(image: &ImageReader, given: Option<&TrustedKeys>) -> Self {
        let mut trusted = given.cloned();
        let systems = Slot::BOTH.map(|slot| {
            let system = slot::uki(image, slot).map(|uki| System::new(&uki, given.is_some(), &mut trusted));
            (slot, system)
        });
        let trusted = trusted.ok_or_else(|| "no slot has a system with trusted keys".into());
        Self { systems: systems.into(), trusted }
    }

    fn get(&self, wanted: Slot) -> Option<&Result<System, SlotError>> {
        self.systems.iter().find(|(slot, _)| *slot == wanted).map(|(_, system)| system)
    }

    fn is_empty(&self, slot: Slot) -> bool {
        matches!(self.get(slot), Some(Err(error)) if is_empty(error))
    }

    /// The keys whose signatures count, or why there are none.
    pub(super) fn trusted(&self) -> &Result<TrustedKeys, String> {
        &self.trusted
    }

    pub(super) fn root_hash(&self, slot: Slot) -> Option<RootHash> {
        self.get(slot)?.as_ref().ok()?.root.as_ref().ok().copied()
    }

    /// The loader's configuration of the system in a slot, if its signature is valid.
    pub(super) fn trust(&self, slot: Slot) -> Option<&Trusted> {
        let system = self.get(slot)?.as_ref().ok()?;
        system.signer.as_ref().ok()?;
        system.trust.as_ref().ok()
    }

    /// The seal that the node would use: that of the system in the slot that starts first, which has its own floors.
    /// Without a system that has a valid signature there are none.
    pub(super) fn newest_seal(&self, image: &ImageReader, trusted: &TrustedKeys) -> NewestSeal {
        let system = start_order(image).into_iter().find_map(|slot| self.trust(slot));
        let floors = system.map(|system| system.config.least_generation.clone()).unwrap_or_default();
        seals::newest(image, &trusted.keys, &trusted.site, &floors)
    }

    /// The boot record of a slot whose UKI fits the record.
    pub(super) fn record(&self, slot: Slot) -> Option<&BootRecord> {
        Some(&self.get(slot)?.as_ref().ok()?.record)
    }

    /// Whether the slots are as in a new image, or as after an update; `None` if neither has a system.
    pub(super) fn state(&self) -> Option<String> {
        match (self.record(Slot::A), self.record(Slot::B)) {
            (Some(a), None) if self.is_empty(Slot::B) => {
                Some(format!("as written: release {} in slot a, slot b is empty", a.release))
            }
            (None, None) => None,
            (a, b) => {
                let said = |record: Option<&BootRecord>| {
                    record.map_or_else(
                        || "no system".to_owned(),
                        |record| format!("release {}", record.release),
                    )
                };
                Some(format!("as updated: {} in slot a, {} in slot b", said(a), said(b)))
            }
        }
    }

    /// Checks the UKI of a slot: it must fit its record, be signed, and have a trust file and a root hash.
    pub(super) fn check(&self, slot: Slot) -> Result<String, String> {
        let system = match self.get(slot) {
            Some(Err(error)) if is_empty(error) && !self.is_empty(slot.other()) => return Ok("empty".into()),
            Some(system) => system.as_ref().map_err(ToString::to_string)?,
            None => return Err("was not read".into()),
        };
        system.root.as_ref().map_err(Clone::clone)?;
        let trust = &system.trust.as_ref().map_err(Clone::clone)?.config;
        let trusted =
            self.trusted.as_ref().map_err(|reason| format!("its signature cannot be checked: {reason}"))?;
        let signer = system.signer.as_ref().map_err(Clone::clone)?;
        let record = &system.record;
        if trust.release != record.release || trust.site != trusted.site {
            let (site, release) = (&trust.site, &trust.release);
            return Err(format!(
                "the UKI is release {release} of site {site}; the boot record has release {}, the keys are those of site {}",
                record.release, trusted.site
            ));
        }
        Ok(format!("release {}, UKI of {} KiB, signed by {signer}", record.release, record.length >> 10))
    }
}

impl System {
    fn new(uki: &CheckedUki, is_given: bool, trusted: &mut Option<TrustedKeys>) -> Self {
        let root = uki.root_hash().map_err(|error| error.to_string());
        let checked = |trusted: &TrustedKeys| {
            signature::verify(&uki.bytes, &uki.record.signature, &trusted.keys)
                .map(PublicKey::id)
                .map_err(|error| format!("the UKI: {error}"))
        };
        if let Some(trusted) = trusted.as_ref().filter(|_| is_given) {
            let signer = checked(trusted);
            let trust = signer.clone().and_then(|_| trust(&uki.bytes));
            return Self { record: uki.record.clone(), root, trust, signer };
        }
        let trust = trust(&uki.bytes);
        if let (None, Ok(trust)) = (&trusted, &trust) {
            *trusted = Some(TrustedKeys { site: trust.config.site.clone(), keys: trust.keys.clone() });
        }
        let signer =
            trusted.as_ref().ok_or_else(|| "there is no key to check it with".into()).and_then(checked);
        Self { record: uki.record.clone(), root, trust, signer }
    }
}

fn trust(uki: &[u8]) -> Result<Trusted, String> {
    let uki = Uki::parse(uki).map_err(|error| error.to_string())?;
    let packed = uki.section(Section::Initrd).map_err(|error| error.to_string())?;
    let file = initramfs_reader::file(packed, paths::TRUST.trim_start_matches('/'), &limits::TRUST);
    let file = file.map_err(|error| format!("the initramfs in the UKI cannot be unpacked: {error}"))?;
    let file = file.ok_or("the initramfs in the UKI has no loader settings (psyops/trust)")?;
    let text = String::from_utf8(file.content)
        .map_err(|_| "the loader settings in the UKI (psyops/trust) are not text")?;
    let config = LoaderConfig::decode(&text).map_err(|error| format!("in the UKI: {error}"))?;
    let keys = config.signing_keys.iter().map(|key| key.parse()).collect::<Result<_, BadPublicKey>>();
    let keys = keys.map_err(|error| format!("the trust file in the UKI: {error}"))?;
    Ok(Trusted { config, keys })
}
