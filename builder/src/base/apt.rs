//! apt with its own folders: it resolves and downloads as an ordinary user, without touching the machine's apt.
//!
//! Only the machine's proxy settings are used. apt verifies an index with Debian's archive keyring, and a package with
//! the index; the digest of each package then goes into the lock.

use super::BaseError;
use super::index_digests::IndexDigests;
use super::locked_package::{Archive, LockedPackage};
use super::vouch::{KEYRING, keep_index};
use crate::atomic;
use crate::site::Packages;
use crate::store::{Store, StoreError, entries};
use crate::tools::{self, APT_CACHE, APT_CONFIG, APT_GET, APT_HELPER, Tool, ToolError};
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The start of apt's explanation why packages cannot be installed together.
const UNMET: &str = "The following packages have unmet dependencies";
/// The settings of the machine's apt for reaching an archive, such as its proxy.
const TAKEN_OVER: [&str; 2] = ["Acquire::http", "Acquire::https"];

/// A private apt for the archives of one site.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    main: String,
    security: String,
    architecture: &'static Architecture,
}

/// A package as apt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) size: u64,
    pub(super) sha256: Option<Sha256Digest>,
    pub(super) archive: Archive,
    pub(super) file: String,
}

impl Candidate {
    /// `NAME=VERSION`, which selects exactly this version in a request to apt.
    pub(super) fn exactly(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

impl Apt {
    /// Creates the folders and the configuration.
    pub(super) fn new(store: &Store, packages: &Packages) -> Result<Self, BaseError> {
        let keyring = Path::new(KEYRING);
        if !keyring.is_file() {
            return Err(BaseError::NoKeyring { path: keyring.to_owned() });
        }
        let sources = sources_list(packages);
        let dir = store.apt(&Sha256Digest::of(sources.as_bytes()));
        for folder in ["lists/partial", "archives/partial", "empty"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(|source| StoreError { path, source })?;
        }
        atomic::write_file(&dir.join("sources.list"), sources.as_bytes())?;
        // An empty status file: no package is installed here, whatever is installed on the machine.
        atomic::write_file(&dir.join("status"), b"")?;
        atomic::write_file(
            &dir.join("apt.conf"),
            configuration(&dir, packages.architecture, &taken_over()?).as_bytes(),
        )?;
        let slash = |mirror: &str| format!("{}/", mirror.trim_end_matches('/'));
        let architecture = packages.architecture;
        Ok(Self {
            dir,
            main: slash(&packages.mirror),
            security: slash(&packages.security_mirror),
            architecture,
        })
    }

    /// Fetches and verifies the archives' indexes.
    pub(super) fn update(&self) -> Result<(), BaseError> {
        let mut command = self.command(APT_GET)?;
        // Without this option, an unreachable archive is only a warning, and an old index would be used as if it were
        // new.
        command.args(["-qq", "-o", "APT::Update::Error-Mode=any", "update"]);
        run("fetch the archive's index", &mut command).map(drop)
    }

    /// Copies the indexes that the last [`Self::update`] fetched into the store.
    pub(super) fn keep_indexes(&self, store: &Store) -> Result<Vec<IndexDigests>, BaseError> {
        let folder = self.dir.join("lists");
        let mut kept = Vec::new();
        for in_release in entries(&folder)? {
            let name = in_release.file_name().unwrap_or_default().to_string_lossy();
            let Some(archive) = name.strip_suffix("_InRelease") else { continue };
            let packages =
                folder.join(format!("{archive}_main_binary-{}_Packages", self.architecture.debian));
            // Without an index, the archive has no package for us.
            if packages.is_file() {
                kept.push(keep_index(&in_release, &packages, store)?);
            }
        }
        kept.sort();
        Ok(kept)
    }

    /// All packages that must be installed so that `wanted` (names or apt patterns) can be installed.
    pub(super) fn closure(&self, wanted: &[String]) -> Result<Vec<Candidate>, BaseError> {
        let mut command = self.command(APT_GET)?;
        // With another `-q`, apt does not print which dependencies cannot be met.
        command.args(["-q", "-y", "--print-uris", "install", "--"]).args(wanted);
        self.candidates(&run("find the packages", &mut command)?)
    }

    /// The candidates of these names (or `NAME=VERSION`), with their digests, and no dependencies.
    pub(super) fn exactly(&self, wanted: &[String]) -> Result<Vec<Candidate>, BaseError> {
        let mut command = self.command(APT_GET)?;
        command.args(["-qq", "--print-uris", "download", "--"]).args(wanted);
        self.candidates(&run("find the packages", &mut command)?)
    }

    /// The dependencies of these packages: for each package, its alternatives in order.
    pub(super) fn dependencies(
        &self,
        wanted: &[String],
    ) -> Result<BTreeMap<String, Vec<Vec<String>>>, BaseError> {
        let mut command = self.command(APT_CACHE)?;
        command.args(["--no-all-versions", "show", "--"]).args(wanted);
        let text = run("read the packages' dependencies", &mut command)?;
        Ok(parse_dependencies(&text))
    }

    /// Downloads each package to its place with apt's own acquire system. It reads no byte more than the size in the
    /// lock, so a mirror cannot fill the disk.
    pub(super) fn download(&self, packages: &[(&LockedPackage, PathBuf)]) -> Result<(), ToolError> {
        let mut command = self.command(APT_HELPER)?;
        command.arg("-qq").arg("download-file");
        for (package, place) in packages {
            let mirror = match package.archive {
                Archive::Main => &self.main,
                Archive::Security => &self.security,
            };
            command.arg(format!("{mirror}{}", package.file)).arg(place);
            command.arg(format!("SHA256:{}", package.sha256));
            command.arg(format!("Checksum-FileSize:{}", package.size));
        }
        tools::run(&mut command).map(drop)
    }

    fn command(&self, tool: Tool) -> Result<Command, ToolError> {
        let mut command = tool.command()?;
        command.env("APT_CONFIG", self.dir.join("apt.conf")).current_dir(&self.dir);
        Ok(command)
    }

    fn candidates(&self, text: &str) -> Result<Vec<Candidate>, BaseError> {
        let parse = |line: &str| {
            parse_candidate(line, &self.main, &self.security)
                .ok_or_else(|| BaseError::AptAnswer { line: line.to_owned() })
        };
        text.lines().filter(|line| line.starts_with('\'')).map(parse).collect()
    }
}

fn run(doing: &'static str, command: &mut Command) -> Result<String, BaseError> {
    let program = tools::program_name(command);
    let failed = |source| BaseError::Apt { doing, source };
    let ended = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let mut output = ended.map_err(|source| failed(ToolError::Start { program: program.clone(), source }))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // apt prints the explanation on its standard output.
    if let Some(start) = said.find(UNMET) {
        output.stderr.extend_from_slice(said.get(start..).unwrap_or_default().as_bytes());
    }
    tools::check(&program, output).map_err(failed)?;
    Ok(said)
}

fn sources_list(packages: &Packages) -> String {
    let options = format!("[arch={} signed-by={KEYRING}]", packages.architecture.debian);
    let Packages { suite, mirror, security_mirror, .. } = packages;
    let mut text = format!("deb {options} {mirror} {suite} main\n");
    // Where there is no security archive (a snapshot, a derivative), there is no archive of updates either.
    if !security_mirror.is_empty() {
        text.push_str(&format!("deb {options} {mirror} {suite}-updates main\n"));
        text.push_str(&format!("deb {options} {security_mirror} {suite}-security main\n"));
    }
    text
}

/// The text of apt.conf(5). `Dir::Etc::main` and `parts` keep out the machine's own configuration with its hooks;
/// without `ForceEssential` apt would treat itself as essential.
fn configuration(dir: &Path, architecture: &Architecture, more: &str) -> String {
    let (dir, architecture) = (dir.display(), architecture.debian);
    format!(
        r#"Dir::State "{dir}";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}";
Dir::Cache::archives "{dir}/archives";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "{dir}/empty";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "{dir}/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{dir}/empty";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "{dir}/empty";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
pkgCacheGen::ForceEssential ",";
APT::Get::List-Cleanup "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::AllowInsecureRepositories "false";
{more}"#
    )
}

/// The machine's settings for reaching archives, as `apt-config dump` prints them.
fn taken_over() -> Result<String, ToolError> {
    let mut command = APT_CONFIG.command()?;
    let output = tools::run(command.arg("dump").args(TAKEN_OVER))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = |line: &&str| {
        let key = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        key.contains("proxy") || key.contains("::ca") || key.contains("::verify") || key.contains("::ssl")
    };
    Ok(text.lines().filter(wanted).map(|line| format!("{line}\n")).collect())
}

/// A line of `--print-uris`: `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH:VALUE`.
fn parse_candidate(line: &str, main: &str, security: &str) -> Option<Candidate> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split_ascii_whitespace();
    let mut parts = words.next()?.strip_suffix(".deb")?.split('_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    let size = words.next()?.parse().ok()?;
    let sha256 = words.next().and_then(|hash| hash.strip_prefix("SHA256:")?.parse().ok());
    // The address of one archive may begin with the address of the other.
    let in_security = uri.strip_prefix(security).filter(|_| security.len() > 1);
    let (archive, file) = match (in_security, uri.strip_prefix(main)) {
        (Some(file), Some(other)) if other.len() < file.len() => (Archive::Main, other),
        (Some(file), _) => (Archive::Security, file),
        (None, Some(file)) => (Archive::Main, file),
        (None, None) => return None,
    };
    Some(Candidate {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        architecture: architecture.to_owned(),
        size,
        sha256,
        archive,
        file: file.to_owned(),
    })
}

/// Parses text as apt prints it, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    for line in text.lines() {
        let _ = parse_candidate(line, "http://main/", "http://main/security/");
    }
    let _ = parse_dependencies(text);
}

/// The names in `Depends` and `Pre-Depends` of each stanza.
fn parse_dependencies(text: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut all = BTreeMap::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(package) = field("Package") else { continue };
        let mut dependencies = Vec::new();
        for group in ["Pre-Depends", "Depends"].into_iter().filter_map(field).flat_map(|list| list.split(','))
        {
            let name = |alternative: &str| {
                let end = |c: char| c.is_whitespace() || matches!(c, '(' | ':' | '[');
                alternative.trim().split(end).next().unwrap_or_default().to_owned()
            };
            dependencies.push(group.split('|').map(name).collect());
        }
        all.insert(package.to_owned(), dependencies);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "http://deb.debian.org/debian/";
    const SECURITY: &str = "http://deb.debian.org/debian-security/";

    #[test]
    fn lines_of_apt_are_parsed() {
        let line = format!(
            "'{SECURITY}pool/x/ssh_1%2bb_amd64.deb' ssh_1%3a9.2+b_amd64.deb 42 SHA256:{}",
            Sha256Digest::of(b"x")
        );
        let candidate = parse_candidate(&line, MAIN, SECURITY).unwrap();
        assert_eq!(candidate.exactly(), "ssh=1:9.2+b");
        assert_eq!((candidate.size, candidate.archive), (42, Archive::Security));
        assert_eq!(candidate.file, "pool/x/ssh_1%2bb_amd64.deb");
        assert_eq!(candidate.sha256, Some(Sha256Digest::of(b"x")));
        assert_eq!(parse_candidate("'http://elsewhere/x' a_1_amd64.deb 1 MD5Sum:x", MAIN, SECURITY), None);
        assert_eq!(parse_candidate("'x", MAIN, SECURITY), None);
    }

    /// A download from a mirror that sends without end is stopped when a package is longer than it should be.
    #[test]
    fn a_mirror_cannot_send_more_than_a_package_has() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mirror = format!("http://{}/", server.local_addr().unwrap());
        // The thread ends when apt has exited.
        std::thread::spawn(move || {
            let (mut client, _) = server.accept().unwrap();
            let mut request = [0; 4096];
            let _ = std::io::Read::read(&mut client, &mut request).unwrap();
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            let mut send = |text: &str| std::io::Write::write_all(&mut client, text.as_bytes());
            let _ = send(head);
            while send(&chunk).is_ok() {}
        });
        let packages = Packages {
            architecture: &handoff::architecture::X86_64,
            suite: "bookworm".into(),
            mirror: mirror.clone(),
            security_mirror: String::new(),
            kernel: String::new(),
            extra: crate::site::PackageSet::default(),
        };
        let apt = Apt::new(&store, &packages).unwrap();
        let package = crate::base::lock::tests::package(crate::base::locked_package::Part::Base, "tree", "1");
        let place = folder.path().join("tree.deb");
        let error: crate::error::Error = apt.download(&[(&package, place.clone())]).unwrap_err().into();
        let report = error.report();
        // The reason is the size, and not another digest, which would only be found at the end.
        let problem = format!("!= {}). Mirror sync in progress?", package.size);
        assert!(report.contains("File has unexpected size (") && report.contains(&problem), "{report}");
        assert!(!place.exists());
    }

    #[test]
    fn dependencies_are_names() {
        let text = "Package: a\nPre-Depends: libc6 (>= 2.34)\nDepends: b:any, c (= 1) | d\n\nPackage: b\nVersion: 1\n";
        let all = parse_dependencies(text);
        assert_eq!(all["a"], [vec!["libc6"], vec!["b"], vec!["c", "d"]]);
        assert!(all["b"].is_empty());
    }

    #[test]
    fn no_security_archive_means_no_updates() {
        let packages = Packages {
            architecture: &handoff::architecture::X86_64,
            suite: "bookworm".into(),
            mirror: "http://m/debian".into(),
            security_mirror: String::new(),
            kernel: String::new(),
            extra: crate::site::PackageSet::default(),
        };
        assert_eq!(sources_list(&packages).lines().count(), 1);
    }
}
