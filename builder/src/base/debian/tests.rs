//! The installation for real, in its sandbox, of packages that are made here: one with just enough programs of this
//! machine to run dpkg and scripts (a second or two instead of minutes), and one whose script does what the test wants.

use super::*;
use crate::base::lock::Lock;
use crate::base::lock::LockRequest;
use crate::base::lock_file::LockFile;
use crate::base::locked_package::{Archive, LockedPackage};
use crate::base::openpgp::ThrowawayKey;
use crate::base::vouch::Trusted;
use crate::error::{Class, Error};
use crate::input::digest_of_file;
use crate::secrets::trust::SiteAndKeys;
use crate::site::{GeneratedKeys, InitOptions, Site, init_site, rfc3339};
use crate::tools::ToolError;
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A time before the clock of every machine that runs this.
const BUILD_TIME: u64 = 1_767_225_600;
/// The programs that dpkg checks for before it installs, that mmdebstrap runs, and that scripts of the tests use.
const PROGRAMS: [&str; 22] = [
    "sh",
    "rm",
    "tar",
    "diff",
    "dpkg",
    "dpkg-deb",
    "dpkg-split",
    "dpkg-query",
    "ldconfig",
    "start-stop-daemon",
    "env",
    "true",
    "cat",
    "mkdir",
    "head",
    "date",
    "hostname",
    "chmod",
    "printf",
    "ln",
    "sed",
    "uname",
];

/// A site, a store, and the packages that the store has.
pub(super) struct Fixture {
    folder: TempDir,
    pub(super) site: SiteAndKeys,
    pub(super) store: Store,
    key: SigningKey,
    packages: Vec<LockedPackage>,
}

impl Fixture {
    /// With `tiny-base`.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate().unwrap();
        let keys = GeneratedKeys {
            admin_recipient: identity_file::generate().recipient().to_string(),
            signing_public: key.public().as_str().to_owned(),
        };
        let dir = folder.path().join("site");
        let options = InitOptions { build_time: BUILD_TIME, open_consoles: false, ..InitOptions::default() };
        init_site(&dir, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
        let toml = fs::read_to_string(dir.join("site.toml")).unwrap();
        let toml = toml.replace("base = \"micro\"", "base = \"debian\"");
        fs::write(dir.join("site.toml"), toml).unwrap();
        let site = SiteAndKeys::from(Site::load(&dir).unwrap());
        let store = Store::at(&folder.path().join("store")).unwrap();
        let mut place = Self { folder, site, store, key, packages: Vec::new() };
        // mmdebstrap's hook for a merged /usr asks for that one.
        place.add("usr-is-merged", "Source: usrmerge\n", &[], |_| ());
        place.add("tiny-base", "Essential: yes\n", &[], |root| {
            for program in PROGRAMS {
                copy_with_libraries(program, root);
            }
            fs::create_dir_all(root.join("etc")).unwrap();
            fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
            fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        });
        place
    }

    /// Makes a package with these maintainer scripts, and puts it into the store.
    fn add(&mut self, name: &str, fields: &str, scripts: &[(&str, &str)], fill: impl FnOnce(&Path)) {
        let root = self.folder.path().join(name);
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        fill(&root);
        let control = format!(
            "Package: {name}\nVersion: 2\nArchitecture: amd64\nMaintainer: Test <test@example.org>\n{fields}Description: test\n"
        );
        fs::write(root.join("DEBIAN/control"), control).unwrap();
        for (script, text) in scripts {
            let path = root.join("DEBIAN").join(script);
            fs::write(&path, format!("#!/bin/sh\nset -e\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let deb = self.folder.path().join(format!("{name}.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "-Znone", "--build"]).arg(&root).arg(&deb);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sha256 = digest_of_file(&deb).unwrap();
        let size = deb.metadata().unwrap().len();
        fs::copy(&deb, self.store.deb(&sha256)).unwrap();
        self.packages.push(LockedPackage {
            part: Part::Base,
            name: name.into(),
            version: "2".into(),
            architecture: "amd64".into(),
            sha256,
            size,
            archive: Archive::Main,
            file: format!("pool/{name}.deb"),
        });
        self.packages.sort();
    }

    /// Adds a package whose `postinst` is this.
    fn with_script(&mut self, name: &str, postinst: &str) {
        self.add(name, "", &[("postinst", postinst)], |_| ());
    }

    /// The lock with all packages, vouched for by the site's signature.
    pub(super) fn lock(&self) -> VouchedLock {
        let request = LockRequest::of(&self.site);
        let lock = Lock { request, imported: None, packages: self.packages.clone(), variants: Vec::new() };
        let mut file = LockFile::new(&self.site, lock, Vec::new()).unwrap();
        file.sign(&self.site, &self.key).unwrap();
        file.write().unwrap();
        let trusted = Trusted::of(&self.site).unwrap();
        LockFile::read_any(&self.site).unwrap().unwrap().vouched(&trusted, &self.store).unwrap()
    }

    /// Makes the base, on a machine of that name.
    fn make(&self) -> Result<LayeredTree, BaseError> {
        let place = self.folder.path().join("base.tar");
        let machine = Machine::for_tests("deskpro7", "00112233445566778899aabbccddeeff", "mail.desk.example");
        make_on(&machine, &self.lock(), &self.store, BUILD_TIME, &place, &|_| ())?;
        let mut tree = LayeredTree::new();
        tree.add_tar(&place, &|_| true)?;
        Ok(tree)
    }

    /// Installs from an archive that `change` changed after it was made. The error is what mmdebstrap said.
    fn install_from(&self, change: impl FnOnce(&Path)) -> Result<(), String> {
        let lock = self.lock();
        let sandbox = Sandbox::new(
            Architecture::DEFAULT,
            &self.store,
            &lock.inputs(StepName::RandomDevices, Part::Base).key(),
            BUILD_TIME,
        )
        .unwrap();
        archive::fill(&lock, &self.store, BUILD_TIME, &sandbox.archive()).unwrap();
        change(&sandbox.archive());
        let output = self.folder.path().join("installed.tar");
        match bootstrap(
            &sandbox,
            &handoff::architecture::X86_64,
            &["tiny-base"],
            BUILD_TIME,
            &output,
            &Count::default(),
        ) {
            Ok(()) => Ok(()),
            Err(BaseError::Tool(ToolError::Failed { program, complaint, .. })) => {
                assert_eq!(program, "mmdebstrap");
                Err((*complaint).to_owned())
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Puts a program of this machine, and the libraries that it names, below `root`.
fn copy_with_libraries(program: &str, root: &Path) {
    let find = |folder: &&&str| Path::new(folder).join(program).exists();
    let folder = ["/usr/bin", "/usr/sbin"].iter().find(find).unwrap_or_else(|| panic!("no {program} here"));
    let path = Path::new(folder).join(program);
    let output = Command::new("ldd").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries =
        said.lines().filter_map(|line| line.split_ascii_whitespace().find(|word| word.starts_with('/')));
    for file in std::iter::once(path.clone()).chain(libraries.map(PathBuf::from)) {
        // /lib is a link to /usr/lib: all supported systems have merged the two.
        let place = file.strip_prefix("/usr").unwrap_or_else(|_| file.strip_prefix("/").unwrap());
        let place = root.join("usr").join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&file, &place).unwrap();
    }
}

#[test]
fn a_script_runs_and_neither_key_nor_archive_is_in_the_root() {
    let mut place = Fixture::new();
    place.with_script("maker", "mkdir -p /etc/maker; echo made >/etc/maker/file");
    let tree = place.make().unwrap();
    assert_eq!(tree.read("etc/maker/file").unwrap().unwrap(), b"made\n");
    let first = fs::read(place.folder.path().join("base.tar")).unwrap();
    // Each archive has its own key, and the root is the same.
    place.make().unwrap();
    assert!(fs::read(place.folder.path().join("base.tar")).unwrap() == first);
    for path in tree.paths().filter(|path| tree.is_file(path)) {
        let bytes = tree.read(path).unwrap().unwrap();
        for trace in ["archive of one psyopsOS build", "key.gpg", "packages of site.lock"] {
            let found = bytes.windows(trace.len()).any(|window| window == trace.as_bytes());
            assert!(!found, "{trace} in {path}");
        }
    }
}

/// Each kind of leftover, in a build: the error names the file, what it is, and the package. What a rule is for is
/// gone.
#[test]
fn leftovers_of_scripts_are_refused_by_name_and_known_ones_removed() {
    let mut place = Fixture::new();
    let today = rfc3339(now());
    let (today, _) = today.split_once('T').unwrap();
    let hash = format!("$6$abcdefgh${}", "d".repeat(86));
    place.with_script(
        "key-maker",
        "mkdir -p /etc/maker\nprintf '%s\\n' '-----BEGIN PRIVATE KEY-----' >/etc/maker/server.key\n\
         head -c 512 /dev/urandom >/etc/maker/seed\n\
         echo 4f2c1d3e-1111-4000-8000-0123456789ab >/etc/maker/uuid",
    );
    place.with_script("host-maker", "echo 'server deskpro7.example.org' >/etc/host-maker.conf");
    place.with_script(
        "user-maker",
        &format!(
            "echo 'admin:{hash}:20000:0:99999:7:::' >/etc/user-maker\necho 'password = x7GhQ2mm' >/etc/user-maker.conf"
        ),
    );
    place.with_script("day-maker", &format!("echo '# made on {today}' >/etc/day-maker.conf"));
    // Files that the rules cover: a key with a link to it, a log, the mail name.
    place.with_script(
        "known-maker",
        "mkdir -p /etc/ssl/private /etc/known /var/log\n\
         printf '%s\\n' '-----BEGIN PRIVATE KEY-----' >/etc/ssl/private/ssl-cert-snakeoil.key\n\
         ln -s ../ssl/private/ssl-cert-snakeoil.key /etc/known/key\n\
         echo deskpro7 >/var/log/known.log\necho mail.desk.example >/etc/mailname\necho kept >/etc/known/file",
    );
    let error = place.make().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "maintainer scripts wrote files that must not be the same on all nodes: \
             etc/day-maker.conf (the time of this build, {today}; made by the package day-maker), \
             etc/host-maker.conf (the host name of this machine, deskpro7; made by the package host-maker), \
             etc/maker/seed (bytes that look random; made by the package key-maker), \
             etc/maker/server.key (a private key (PEM, OpenSSH); made by the package key-maker), \
             etc/maker/uuid (an id that was made for one machine; made by the package key-maker), \
             etc/user-maker (a password hash (crypt); made by the package user-maker), \
             etc/user-maker.conf (a password; made by the package user-maker)"
        )
    );
    let error = Error::from(error);
    assert_eq!((error.class(), error.exit_code()), (Class::BadContent, Class::BadContent.exit_code()));
    assert_eq!(
        error.advice().unwrap(),
        "leave out the package that makes it, install that package on the node by a role, or remove the file by a whiteout in an overlay; if the file is harmless, report it to psyopsOS. To list all packages: psyops lock show"
    );
    assert!(!place.folder.path().join("base.tar").exists());
    // Without the others, what the rules know is removed, and the rest stays.
    place
        .packages
        .retain(|package| ["tiny-base", "usr-is-merged", "known-maker"].contains(&package.name.as_str()));
    let tree = place.make().unwrap();
    for gone in
        ["etc/ssl/private/ssl-cert-snakeoil.key", "etc/known/key", "var/log/known.log", "etc/mailname"]
    {
        assert!(!tree.contains(gone), "{gone}");
    }
    assert_eq!(tree.read("etc/known/file").unwrap().unwrap(), b"kept\n");
}

#[test]
fn apt_refuses_a_package_whose_bytes_are_not_those_of_the_index() {
    let place = Fixture::new();
    let complaint = place
        .install_from(|archive| {
            let deb = place.packages.iter().find(|package| package.name == "tiny-base").unwrap().sha256;
            let deb = archive.join(format!("{deb}.deb"));
            let mut bytes = fs::read(&deb).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&deb, bytes).unwrap();
        })
        .unwrap_err();
    assert!(complaint.contains("Hash Sum mismatch"), "{complaint}");
}

#[test]
fn apt_refuses_an_index_whose_bytes_are_not_those_of_the_release() {
    let place = Fixture::new();
    let complaint = place
        .install_from(|archive| {
            let index = archive.join("Packages");
            let text = fs::read_to_string(&index).unwrap();
            fs::write(&index, text.replace("Description: test", "Description: tess")).unwrap();
        })
        .unwrap_err();
    assert!(complaint.contains("Hash Sum mismatch"), "{complaint}");
}

/// If the source were trusted without a signature, all of these would be installed.
#[test]
fn apt_refuses_an_archive_without_the_signature_of_its_key() {
    let place = Fixture::new();
    let changed = place.install_from(|archive| {
        let release = archive.join("InRelease");
        let text = fs::read_to_string(&release).unwrap();
        fs::write(&release, text.replace("Origin: psyopsOS", "Origin: psyopsOT")).unwrap();
    });
    let of_another_key = place.install_from(|archive| {
        let release = archive.join("InRelease");
        let text = fs::read_to_string(&release).unwrap();
        let text = text.split_once("\n\n").unwrap().1.split_once("-----BEGIN").unwrap().0;
        fs::write(&release, ThrowawayKey::generate(1_700_000_000).unwrap().sign(text)).unwrap();
    });
    let unsigned = place.install_from(|archive| {
        let release = archive.join("InRelease");
        let text = fs::read_to_string(&release).unwrap();
        let text = text.split_once("\n\n").unwrap().1.split_once("-----BEGIN").unwrap().0;
        fs::write(archive.join("Release"), text).unwrap();
        fs::remove_file(&release).unwrap();
    });
    // The messages of gpgv (apt of Debian 12), and of sqv (Debian 13).
    for (complaint, gpgv, sqv) in [
        (changed, "BADSIG", "Message has been manipulated"),
        (of_another_key, "NO_PUBKEY", "Missing key"),
        (unsigned, "is not signed", "is not signed"),
    ] {
        let complaint = complaint.unwrap_err();
        assert!(complaint.contains(gpgv) || complaint.contains(sqv), "{complaint}");
        assert!(complaint.contains("is not signed"), "{complaint}");
    }
    place.install_from(|_| ()).unwrap();
}

#[test]
fn identities_and_traces_are_taken_out() {
    for gone in ["etc/ssh/ssh_host_rsa_key", "var/lib/apt/lists", "var/lib/apt", "etc/hostname", "dev/null"] {
        assert!(!wanted(gone), "{gone}");
    }
    for kept in ["etc/ssh/sshd_config", "var/lib/aptitude", "dev", "var/log", "var/lib/dpkg/status"] {
        assert!(wanted(kept), "{kept}");
    }
}
