//! Other hostile inputs and answers: disks, images that are exported, written or started, registries, kernel packages,
//! files of a site. The limits and the process that runs the commands are those of [`super::hostile_tests`].

use super::hostile_tests::{BAD, grow, look, path, refused, replace_uki, with_files};
use crate::base::hostile_server::{head, serve, without_end};
use crate::image::fixture;
use crate::limits;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use tempfile::TempDir;

/// The first line of the output, without the advice.
fn first_line(said: &str) -> &str {
    said.lines().next().unwrap_or_default()
}

/// The result of pulling from a registry.
fn pulled(host: &str) -> (u64, String) {
    let (code, said) = look("pull", Path::new("/"), &format!("{host}/lab/base:stable"));
    (code, first_line(&said).replace(host, "HOST"))
}

#[test]
fn a_registry_cannot_answer_without_end() {
    let body = |status: &'static str, headers: &'static str| {
        serve(move |path, to| {
            if path == "/v2/" {
                return head(to, "200 OK", "Content-Length: 0\r\n");
            }
            head(to, status, headers)?;
            without_end(to)
        })
    };
    let manifest = "cannot get the manifest of HOST/lab/base:stable: ";
    for (headers, found) in [("", 4_194_305_u64), ("Content-Length: 1099511627776\r\n", 1 << 40)] {
        let said = format!(
            "{manifest}the manifest or configuration has {found} bytes, more than the limit of 4194304 bytes (OCI \
             distribution, manifests)"
        );
        assert_eq!(pulled(&body("200 OK", headers)), (BAD, said));
    }
    // Of an error, only the beginning is shown.
    let (code, said) = pulled(&body("500 No", ""));
    assert!(code != 0 && said.starts_with(&format!("{manifest}Server error: url http://HOST/v2/")), "{said}");
    assert!(said.len() < 8192, "{}", said.len());
    let tokens = serve(|path, to| {
        let server = to.local_addr()?;
        if path == "/v2/" {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{server}/token\"\r\n");
            return head(to, "401 No", &format!("{challenge}Content-Length: 0\r\n"));
        }
        head(to, "200 OK", "")?;
        without_end(to)
    });
    let said = format!(
        "{manifest}the registry's token has 65537 bytes, more than the limit of 65536 bytes (a token is a part of a header)"
    );
    assert_eq!(pulled(&tokens), (BAD, said));
}

#[test]
fn a_registry_cannot_lead_around_in_circles_or_to_another_machine_without_tls() {
    let to_place = |place: &'static str| {
        serve(move |path, to| match path {
            "/v2/" => head(to, "200 OK", "Content-Length: 0\r\n"),
            _ => head(to, "307 There", &format!("Location: {place}\r\nContent-Length: 0\r\n")),
        })
    };
    for (place, reason) in [
        ("/v2/again", "there are more than 5 redirects"),
        ("http://198.51.100.1/v2/", "a redirect is refused: it leads to another machine without TLS"),
        ("ftp://127.0.0.1/v2/", "a redirect is refused: it leads to another machine without TLS"),
    ] {
        let (code, said) = pulled(&to_place(place));
        assert!(code == BAD && said.ends_with(&format!(": {reason}")), "{code} {said}");
    }
    let tokens = serve(|_, to| {
        head(to, "401 No", "WWW-Authenticate: Bearer realm=\"http://198.51.100.1/\"\r\nContent-Length: 0\r\n")
    });
    let (code, said) = pulled(&tokens);
    assert!(code != 0 && said.contains("198.51.100.1/: it leads to another machine without TLS"), "{said}");
}

#[test]
fn an_image_of_too_many_layers_is_refused() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let layer = format!(
        "{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"{digest}\",\"size\":1}}"
    );
    let configuration = "{\"os\":\"linux\",\"architecture\":\"amd64\"}";
    let of_it = handoff::hash::Sha256Digest::of(configuration.as_bytes());
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\
         \"sha256:{of_it}\",\"size\":1}},\"layers\":[{}]}}",
        vec![layer; 15_000].join(",")
    );
    assert!(manifest.len() < limits::MANIFEST.in_memory());
    let host = serve(move |path, to| {
        let body = if path.contains("blobs") { configuration } else { manifest.as_str() };
        head(to, "200 OK", &format!("Content-Length: {}\r\n", body.len()))?;
        to.write_all(body.as_bytes())
    });
    let said = "HOST/lab/base:stable: the image has 15000 layers, more than the limit of 127 layers (container engines \
                take no more)";
    assert_eq!(pulled(&host), (BAD, said.to_owned()));
}

/// The indexes of a kernel, without any modules.
fn kernel(dependencies: &str, soft: &str, aliases: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("modules.dep", dependencies),
        ("modules.softdep", soft),
        ("modules.alias", aliases),
        ("modules.builtin", ""),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn indexes_of_kernel_modules_have_bounds() {
    let large = kernel("", "", "");
    File::options().write(true).open(large.path().join("modules.alias")).unwrap().set_len(1 << 40).unwrap();
    let error = format!(
        "cannot read {}: an index of kernel modules has 16777217 bytes, more than the limit of 16777216 bytes (Debian's have \
         1 MiB); run depmod(8) on the unpacked kernel package",
        large.path().join("modules.alias").display()
    );
    refused(large.path(), &[("modules", "a")], &error);
    // A chain that is deeper than any stack.
    let chain: String = (0..60_000).map(|n| format!("m{n}.ko: m{}.ko\n", n + 1)).collect();
    let deep = kernel(&chain, "", "");
    let (code, said) = look("modules", deep.path(), "m0");
    assert!(code != 0 && said.starts_with("cannot read the kernel module "), "{said}");
    // Each of many aliases refers to many modules.
    let soft = format!("softdep m0 pre: {}", "all ".repeat(10_000));
    let all: String = (0..10_000).map(|n| format!("alias all m{n}\n")).collect();
    let wide = kernel(&chain, &soft, &all);
    let error = "the kernel package has no usable kernel: an index of kernel modules has 1050000 dependencies on the way to the required modules, more than the limit of 1048576 dependencies on the way to the required modules (a \
                 kernel has fewer than 5000 modules)";
    refused(wide.path(), &[("modules", "m0")], error);
}

#[test]
fn a_kernel_module_that_is_a_link_out_of_its_package_or_a_pipe_is_not_read() {
    let folder = kernel("a.ko:\npipe.ko:\n../outside/key.ko:\n", "", "");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("signing.key"), "secret").unwrap();
    std::os::unix::fs::symlink(outside.path().join("signing.key"), folder.path().join("a.ko")).unwrap();
    nix::unistd::mkfifo(&folder.path().join("pipe.ko"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (module, problem) in [
        ("a", "a symbolic link in the path leads out of"),
        ("key", "a symbolic link in the path leads out of"),
        ("pipe", "it is a pipe, not a file"),
    ] {
        let (code, said) = look("modules", folder.path(), module);
        assert!(code == BAD && said.contains(problem), "{module}: {code} {said}");
    }
}

/// The result of each command for an image with a partition of 50 GiB, which is only a hole.
#[test]
fn disks_flash_export_and_run_do_not_read_partitions_of_50_gib() {
    let stick = tempfile::NamedTempFile::new().unwrap();
    stick.as_file().set_len(80 << 30).unwrap();
    let target = stick.path().display().to_string();
    let limit = |what: &str, most: u64, because: &str| {
        format!("{what} has 53687091200 bytes, more than the limit of {most} bytes ({because})")
    };
    for (role, problem, commands) in [
        (
            Role::Seal(Slot::A),
            limit("a seal partition", 64 << 20, "a node holds the seal in memory"),
            &[("flash", ""), ("export", "netboot"), ("run", "direct")][..],
        ),
        (
            Role::Secret,
            limit("the secret partition", 4 << 30, "it holds the files of a seal"),
            &[("flash", "")],
        ),
        (Role::Esp, limit("the ESP", 1 << 30, "it holds a selector of less than a MiB"), &[("flash", "")]),
    ] {
        let fixture = with_files();
        grow(&fixture, role);
        for (command, argument) in commands {
            let argument = if *command == "flash" { &target } else { *argument };
            let (code, said) = look(command, path(&fixture), argument);
            assert!(code == BAD && said.contains(&problem), "{command} {role}: {code} {said}");
        }
        let (code, said) = look("disks", path(&fixture), "");
        let names =
            "esp, control, boot-a, root-a, verity-a, boot-b, root-b, verity-b, seal-a, seal-b, secret (gpt)";
        let expected = if role == Role::Seal(Slot::A) { names } else { "node demo of site site (gpt)" };
        assert_eq!((code, said.as_str()), (0, expected), "{role}");
        let (code, said) = look("run", path(&fixture), "");
        assert!(code == 0 && said.starts_with("qemu-system-x86_64 "), "{said}");
    }
}

/// A hostile stick as the target: whatever its tables have, it is named or refused, and its tables are not trusted.
#[test]
fn a_hostile_target_does_not_block_flash() {
    let image = with_files();
    let hostile = with_files();
    grow(&hostile, Role::Seal(Slot::A));
    let target = path(&hostile).display().to_string();
    let (code, said) = look("flash", path(&image), &target);
    assert!(code != 0, "{said}");
    let many = tempfile::NamedTempFile::new().unwrap();
    many.as_file().set_len(60 << 30).unwrap();
    let mut sgdisk = std::process::Command::new("sgdisk");
    sgdisk.arg("--clear");
    for number in 1..=128_u64 {
        let first = 2048 + (number - 1) * 900_000;
        sgdisk.arg(format!("--new={number}:{first}:{}", first + 899_999));
    }
    assert!(sgdisk.arg(many.path()).output().unwrap().status.success());
    let (code, said) = look("disks", many.path(), "");
    assert_eq!((code, said.as_str()), (0, "gpt"));
    let (code, said) = look("flash", path(&image), &many.path().display().to_string());
    assert!(code == 89 && said.contains("--overwrite"), "{code} {said}");
}

/// The largest number of names, each as long as possible: 256 MiB of names in a few kilobytes.
#[test]
fn an_initramfs_of_many_long_names_is_not_listed() {
    let entry = crate::boot::initramfs::single_file("/x", 0o400, b"").unwrap();
    let name = "n".repeat(limits::CPIO_NAME.in_memory() - 8);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for number in 0..4200 {
        let name = format!("{name}{number:05}\0");
        let mut header = entry[..110].to_vec();
        header[94..102].copy_from_slice(format!("{:08x}", name.len()).as_bytes());
        header.extend_from_slice(name.as_bytes());
        header.resize(header.len().next_multiple_of(4), 0);
        encoder.write_all(&header).unwrap();
    }
    let fixture = fixture::image();
    replace_uki(&fixture, &"0".repeat(64), Some(&encoder.finish().unwrap()));
    let (code, said) = look("ls", path(&fixture), "initramfs");
    let problem = "the initramfs cannot be read: the initramfs, in names of files and targets of links, has 16781300 bytes, \
                   more than the limit of 16777216 bytes (a kernel's modules have 500 kB); psyops verify shows what is damaged";
    assert_eq!((code, said.as_str()), (BAD, problem));
}

#[test]
fn a_file_of_settings_over_its_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.toml");
    File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let (code, said) = look("site", folder.path(), "");
    let error = format!(
        "cannot read {}: a file of settings has 1048577 bytes, more than the limit of 1048576 bytes (people write it)",
        file.display()
    );
    assert_eq!((code, first_line(&said)), (BAD, error.as_str()));
}
