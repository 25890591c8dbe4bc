//! The second layer of `site.toml`: from the typed values to their meaning.

use super::base::{Base, base};
use super::boot::boot;
use super::entry::SiteEntryKind;
use super::error::SiteError;
use super::folder::SiteFolder;
use super::hardening::hardening;
use super::known::Known;
use super::network::TakenAddresses;
use super::node::{Context, Node};
use super::overlay::OverlayManifest;
use super::package::PackageSet;
use super::problems::Problems;
use super::quantity::unix_seconds;
use super::raw::{RawConfigure, RawConsole, RawPackages, RawSite, RawSizes};
use super::rescue::rescue;
use super::role::{Overlay, Role};
use super::settings::{Console, Packages, Sizes};
use super::source::Source;
use super::value::{check_recipient, positive, ssh_key};
use super::wanted_package::WantedPackage;
use super::{NODES, OVERLAYS, ROLES, SITE_FILE, Site};
use handoff::architecture::Architecture;
use handoff::login::{BadConsoleLogin, BadCryptHash, ConsoleLogin};
use handoff::manifest::Required;
use handoff::name::Name;
use handoff::node_settings::{ConfigureLimits, DEFAULT_DEADLINE, DEFAULT_RETRIES};
use keys::signature::PublicKey;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use toml::Spanned;

/// Reads all files in `dir`; the errors are all that is wrong in them.
pub(super) fn load(dir: &Path) -> Result<Site, Vec<SiteError>> {
    let (folder, source, raw) = open(dir).map_err(|problem| vec![problem])?;
    let mut problems = Problems::default();
    let site = resolve(dir, folder, &source, raw, &mut problems);
    problems.end(site)
}

/// The folder of a site, and `site.toml` as it was typed.
fn open(dir: &Path) -> Result<(SiteFolder, Source, RawSite), SiteError> {
    let not_a_site = || SiteError::NotASite { dir: dir.to_owned() };
    let folder = match SiteFolder::open(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(not_a_site());
        }
        other => other.map_err(|source| SiteError::Read { path: dir.to_owned(), source })?,
    };
    let source = Source::read_if_there(&folder, SITE_FILE)?.ok_or_else(not_a_site)?;
    let raw = source.parse()?;
    Ok((folder, source, raw))
}

/// The site; `None` after a mistake in `site.toml`. Mistakes in other files leave a node or role out.
fn resolve(
    dir: &Path,
    folder: SiteFolder,
    source: &Source,
    raw: RawSite,
    problems: &mut Problems,
) -> Option<Site> {
    let architecture = problems.take(match &raw.architecture {
        None => Ok(Architecture::DEFAULT),
        Some(typed) => source.word("architecture", typed, &Architecture::ALL.map(|row| (row.name, row))),
    });
    let roles = read_roles(&folder.folder(ROLES), problems);
    let boot = problems.take(boot(source, raw.boot));
    let extra = problems.take(WantedPackage::read_all(source, "extra", &raw.packages.extra));
    let base = problems.take(base(source, raw.base.as_ref(), &raw.packages.extra));
    let context = Context {
        site: &folder,
        roles: &roles,
        extra: extra.as_deref().unwrap_or_default(),
        takes_packages: base.as_ref().is_none_or(Base::is_of_packages),
        required: boot.as_ref().map_or(Required::Boot, |boot| boot.required),
    };
    let nodes = read_nodes(&folder.folder(NODES), context, problems);
    let build_time = problems.take(unix_seconds(raw.build_time.get_ref()).ok_or_else(|| {
        source.wrong(
            "build-time",
            &raw.build_time,
            "a time has date, time and offset, as in 2026-11-01T00:00:00Z",
        )
    }));
    let admin_recipients =
        problems.take(keys_of(source, "recipients", &raw.admin.recipients, check_recipient));
    let signing_keys = problems.take(keys_of(source, "keys", &raw.signing.keys, signing_key));
    let id = problems.take(source.value("id", &raw.id));
    let release = problems.take(source.value("release", &raw.release));
    let least_generation = problems.take(positive(source, "least-serial", raw.least_generation, 0));
    let packages = match (architecture, &extra) {
        (Some(architecture), Some(extra)) => {
            problems.take(packages(source, architecture, raw.packages, extra))
        }
        _ => None,
    };
    let sizes = problems.take(sizes(source, &raw.sizes));
    let console = architecture.and_then(|row| problems.take(console(source, row, raw.console)));
    let rescue = problems.take(rescue(source, raw.rescue));
    let ssh_keys: Vec<_> =
        raw.admin.ssh_keys.iter().filter_map(|typed| problems.take(ssh_key(source, typed))).collect();
    let configure = problems.take(configure(source, &raw.configure));
    let overlays = problems.take(overlays(source, &raw.overlays, &folder.folder(OVERLAYS)));
    let hardening = problems.take(hardening(source, &raw.hardening));
    Some(Site {
        dir: dir.to_owned(),
        id: id?,
        release: release?,
        security_epoch: raw.security_epoch,
        least_generation: least_generation?,
        build_time: build_time?,
        architecture: architecture?,
        base: base?,
        packages: packages?,
        sizes: sizes?,
        boot: boot?,
        console: console?,
        rescue: rescue?,
        admin_recipients: admin_recipients?,
        signing_keys: signing_keys?,
        ssh_keys,
        configure: configure?,
        overlays: overlays?,
        folder,
        hardening: hardening?,
        roles,
        nodes,
    })
}

/// The roles. One with a mistake is there without settings, so that nodes with it are not wrong as well.
fn read_roles(all: &SiteFolder, problems: &mut Problems) -> BTreeMap<Name, Role> {
    let entries = problems.take(named_entries(all, None)).unwrap_or_default();
    let read = |(name, file_name): (Name, String)| {
        let dir = all.folder(file_name);
        let role = problems.take(Role::read(&dir, name.clone()));
        (name.clone(), role.unwrap_or_else(|| Role::without_settings(dir, name)))
    };
    entries.into_iter().map(read).collect()
}

fn read_nodes(all: &SiteFolder, context: Context<'_>, problems: &mut Problems) -> BTreeMap<Name, Node> {
    let entries = problems.take(named_entries(all, Some("toml"))).unwrap_or_default();
    let mut addresses = TakenAddresses::default();
    let read = |(name, file_name): (Name, String)| {
        let node = Node::read(all, &file_name, name.clone(), context, &mut addresses, problems)?;
        Some((name, node))
    };
    entries.into_iter().filter_map(read).collect()
}

/// The usable entries of a folder, sorted: folders, or files with `extension`. Hidden entries belong to other tools.
fn named_entries(folder: &SiteFolder, extension: Option<&str>) -> Result<Vec<(Name, String)>, SiteError> {
    let read = |path| move |source| SiteError::Read { path, source };
    let entries = match folder.entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(read(folder.path()))?,
    };
    let mut named = Vec::new();
    for entry in entries {
        let path = folder.path_of(&entry.name);
        let file_name = entry.name.to_string_lossy().into_owned();
        if file_name.starts_with('.') {
            continue;
        }
        let name = match extension {
            None => {
                let is_folder = match entry.kind {
                    SiteEntryKind::Link => {
                        folder.kind(&entry.name).map_err(read(path.clone()))? == Some(SiteEntryKind::Folder)
                    }
                    kind => kind == SiteEntryKind::Folder,
                };
                if !is_folder {
                    continue;
                }
                file_name.as_str()
            }
            Some(extension) if path.extension().is_some_and(|found| found == extension) => {
                file_name.strip_suffix(extension).unwrap_or(&file_name).trim_end_matches('.')
            }
            Some(_) => continue,
        };
        let name = name.parse().map_err(|problem: handoff::name::BadName| SiteError::BadFileName {
            path: path.clone(),
            problem: problem.to_string(),
        })?;
        named.push((name, file_name));
    }
    named.sort();
    Ok(named)
}

/// Reads a list of keys that must not be empty.
fn keys_of<K>(
    source: &Source,
    key: &'static str,
    typed: &Spanned<Vec<Spanned<String>>>,
    read: fn(&Source, &Spanned<String>) -> Result<K, SiteError>,
) -> Result<Vec<K>, SiteError> {
    if typed.get_ref().is_empty() {
        return Err(SiteError::WrongValue {
            at: source.at(&typed.span()),
            key,
            value: "[]".into(),
            problem: "at least one key is needed".into(),
        });
    }
    typed.get_ref().iter().map(|one| read(source, one)).collect()
}

/// A minisign public key: 42 bytes (algorithm, key number, Ed25519 key) in base64, so 56 characters.
fn signing_key(source: &Source, typed: &Spanned<String>) -> Result<PublicKey, SiteError> {
    let problem = "a minisign public key is the line of a .pub file that begins with RW, 56 characters";
    let text = typed.get_ref();
    let key = text.parse().ok().filter(|_| text.len() == 56);
    key.ok_or_else(|| source.wrong("keys", typed, problem))
}

/// The URL schemes for an archive: apt's methods that only fetch bytes.
const SCHEMES: [&str; 7] = ["http", "https", "ftp", "file", "copy", "tor+http", "tor+https"];

fn packages(
    source: &Source,
    architecture: &'static Architecture,
    raw: RawPackages,
    extra: &[WantedPackage],
) -> Result<Packages, SiteError> {
    let plain = |key: &'static str, typed: Option<Spanned<String>>, default: &str, more: &str| match typed {
        None => Ok(default.to_owned()),
        Some(typed) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            match typed.get_ref().chars().find(|&c| !fits(c)) {
                None => Ok(typed.into_inner()),
                Some(c) => Err(source.wrong(key, &typed, format!("the character {c:?} is not allowed"))),
            }
        }
    };
    // Only methods that fetch bytes: apt also has some that start programs (ssh).
    let fetched = |key: &'static str, typed: Option<Spanned<String>>, default: &str, may_be_empty: bool| {
        let good = |text: &str| {
            let scheme = text.split_once(':').map(|(scheme, _)| scheme);
            scheme.is_some_and(|scheme| SCHEMES.contains(&scheme)) || (may_be_empty && text.is_empty())
        };
        match typed {
            Some(typed) if !good(typed.get_ref()) => {
                let problem =
                    format!("the address of an archive must begin with one of: {}", SCHEMES.join(", "));
                Err(source.wrong(key, &typed, problem))
            }
            typed => plain(key, typed, default, ":/+-._~%@"),
        }
    };
    Ok(Packages {
        architecture,
        suite: plain("suite", raw.suite, "bookworm", "-.")?,
        mirror: fetched("mirror", raw.mirror, "http://deb.debian.org/debian", false)?,
        security_mirror: fetched(
            "security-mirror",
            raw.security_mirror,
            "http://deb.debian.org/debian-security",
            true,
        )?,
        kernel: plain("kernel", raw.kernel, architecture.kernel_package, "+-.")?,
        extra: PackageSet::of("the site", extra)?,
    })
}

fn sizes(source: &Source, raw: &RawSizes) -> Result<Sizes, SiteError> {
    let default = Sizes::default();
    let bytes = |key: &'static str, typed: &Option<Spanned<String>>, default| {
        typed.as_ref().map_or(Ok(default), |typed| source.value(key, typed))
    };
    let extent = |key: &'static str, typed: &Option<Spanned<String>>, default| {
        typed.as_ref().map_or(Ok(default), |typed| source.value(key, typed))
    };
    Ok(Sizes {
        esp: bytes("esp", &raw.esp, default.esp)?,
        boot: bytes("boot", &raw.boot, default.boot)?,
        root: extent("root", &raw.root, default.root)?,
        verity: extent("verity", &raw.verity, default.verity)?,
        seal: bytes("seal", &raw.seal, default.seal)?,
        secret: bytes("secret", &raw.secret, default.secret)?,
        data: raw.data.as_ref().map(|typed| source.value("data", typed)).transpose()?,
    })
}

fn console(source: &Source, architecture: &Architecture, raw: RawConsole) -> Result<Console, SiteError> {
    let mut devices = Vec::new();
    for typed in raw.devices.unwrap_or_default() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == ',';
        if typed.get_ref().is_empty() || !typed.get_ref().chars().all(plain) {
            return Err(source.wrong(
                "devices",
                &typed,
                format!(
                    "expected a console in the form of the kernel, as in \"{},115200\"",
                    architecture.serial_console
                ),
            ));
        }
        devices.push(typed.into_inner());
    }
    if devices.is_empty() {
        devices = vec!["tty0".to_owned(), architecture.serial_console.to_owned()];
    }
    Ok(Console { devices, login: login(source, raw.login.as_ref(), raw.password_hash.as_ref())? })
}

fn login(
    source: &Source,
    word: Option<&Spanned<String>>,
    hash: Option<&Spanned<String>>,
) -> Result<ConsoleLogin, SiteError> {
    let words = ConsoleLogin::WORDS.map(|word| (word, word));
    let chosen = word.map(|typed| source.word("login", typed, &words)).transpose()?;
    let wrong_hash = |typed: &Spanned<String>, problem: String| SiteError::WrongValue {
        at: source.at(&typed.span()),
        key: "password-hash",
        // The value may be a password that was typed by mistake.
        value: "...".into(),
        problem,
    };
    let parsed = match hash {
        None => None,
        Some(typed) => Some(
            typed
                .get_ref()
                .parse()
                .map_err(|problem: BadCryptHash| wrong_hash(typed, problem.to_string()))?,
        ),
    };
    ConsoleLogin::new(chosen.unwrap_or(ConsoleLogin::default().word()), parsed).map_err(|problem| {
        if let (BadConsoleLogin::UnusedHash, Some(typed)) = (problem, hash) {
            return wrong_hash(typed, problem.to_string());
        }
        let at = word.map_or(0..0, Spanned::span);
        SiteError::MissingKey { at: source.at(&at), key: "password-hash".into() }
    })
}

fn configure(source: &Source, raw: &RawConfigure) -> Result<ConfigureLimits, SiteError> {
    let deadline = match &raw.deadline {
        None => DEFAULT_DEADLINE,
        Some(typed) => NonZeroU32::new(*typed.get_ref())
            .ok_or_else(|| source.wrong("deadline", typed, "it must be at least 1"))?,
    };
    Ok(ConfigureLimits { deadline, retries: raw.retries.unwrap_or(DEFAULT_RETRIES) })
}

fn overlays(
    source: &Source,
    typed: &[Spanned<String>],
    folder: &SiteFolder,
) -> Result<Vec<Overlay>, SiteError> {
    let known = named_entries(folder, None)?;
    let mut overlays = Vec::new();
    for typed in typed {
        let name: Name = source.value("overlays", typed)?;
        let Some((_, file_name)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(SiteError::UnknownOverlay {
                at: source.at(&typed.span()),
                name: name.to_string(),
                known: Known::near(name.as_str(), known.iter().map(|(name, _)| name.as_str())),
            });
        };
        let manifest = OverlayManifest::read(folder, &format!("{name}.toml"))?;
        overlays.push(Overlay { name, dir: folder.folder(file_name), manifest });
    }
    // A manifest without a folder has a mistyped name.
    for (name, file_name) in named_entries(folder, Some("toml"))? {
        if !known.iter().any(|(known, _)| *known == name) {
            return Err(SiteError::ManifestWithoutOverlay {
                path: folder.path_of(file_name),
                known: Known::near(name.as_str(), known.iter().map(|(name, _)| name.as_str())),
            });
        }
    }
    Ok(overlays)
}
