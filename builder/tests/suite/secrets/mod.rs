//! From a new site to seals and secret partitions.

mod credentials;
mod floors;
mod generations;
mod partition;
mod seals;

use builder::error::Error;
use builder::secrets::credentials::{Locations, own_keys};
use builder::secrets::issue::issue_keys;
use builder::secrets::passphrase::Passphrases;
use builder::secrets::prepare::{self, Prepared, prepare_one};
use builder::secrets::seal::SealRequest;
use builder::secrets::trust::{Acceptance, accept_typed};
use builder::site::{InitOptions, LockedSite, Site, init_site};
use handoff::manifest::RelativePath;
use keys::timestamp::Timestamp;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

struct Home {
    folder: TempDir,
}

impl Home {
    /// A site `home` with a node `demo`, and its private keys beside it.
    fn new() -> Self {
        let home = Self { folder: TempDir::new().unwrap() };
        let keys = issue_keys(
            &home.at("config"),
            &"home".parse().unwrap(),
            Timestamp::from_unix(0),
            &Passphrases::default(),
        )
        .unwrap();
        let options =
            InitOptions { build_time: 1_700_000_000, open_consoles: true, ..InitOptions::default() };
        let name = "demo".parse().unwrap();
        init_site(&home.at("site"), &"home".parse().unwrap(), &name, &keys, &options).unwrap();
        home
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn site(&self) -> Site {
        Site::load(&self.at("site")).unwrap()
    }

    fn locations(&self) -> Locations {
        Locations {
            identity: Some(self.at("config/home/admin.age.txt")),
            signing_key: Some(self.at("config/home/signing.key")),
            passphrases: Passphrases::default(),
        }
    }

    fn locked(&self) -> LockedSite {
        LockedSite::load(&self.at("site")).unwrap()
    }

    fn prepare(&self) -> Prepared {
        prepare_one(self.locked(), "demo", &self.locations()).unwrap()
    }

    /// Does what `psyops trust accept` does, with nothing left to accept.
    fn accept(&self, keys: &[&str]) {
        assert!(self.accept_some(keys).remaining.is_empty());
    }

    fn accept_some(&self, keys: &[&str]) -> Acceptance {
        let own = own_keys(&self.site(), &self.locations()).unwrap();
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        accept_typed(&self.site(), &self.locations(), &own, &keys).unwrap()
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.at("site").join(file);
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, old + text).unwrap();
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.at("site").join(file);
        let old = fs::read_to_string(&path).unwrap();
        assert!(old.contains(from), "{old}");
        fs::write(&path, old.replace(from, to)).unwrap();
    }
}

fn prepare_all<'n>(
    site: LockedSite,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
    request: SealRequest,
) -> Result<Vec<Prepared>, Error> {
    Ok(prepare::prepare(site, nodes, at, request, None)?.0)
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

/// A copy of the stored seal with another generation in its header, signed by `key`.
fn forged(home: &Home, generation: u64, key: &keys::issue::signing::SigningKey) -> Vec<u8> {
    let site = home.site();
    let header = keys::seal::header::Header {
        site: site.id.clone(),
        node: "demo".parse().unwrap(),
        recipient: site.node("demo").unwrap().recipient.as_deref().unwrap().parse().unwrap(),
        generation: keys::seal::header::Generation::new(generation).unwrap(),
        created: Timestamp::from_unix(site.build_time),
        security_epoch: 0,
    };
    let admins = [site.admin_recipients[0].parse().unwrap()];
    let builder = keys::issue::seal_builder::SealBuilder::new(handoff::fault::Policy::default(), false);
    builder.build(&header, &admins, key).unwrap()
}
