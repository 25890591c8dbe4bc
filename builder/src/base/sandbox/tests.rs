//! What runs inside sees, and does not see.

use super::*;

fn inside(script: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path()).unwrap();
    let sandbox = Sandbox::new(&store, &Sha256Digest::of(b"lock")).unwrap();
    let output = folder.path().join("output");
    let ended = sandbox.run(&["sh", "-c", script], &[], File::create(&output).unwrap().into(), |_| ());
    ended.map_err(|error| error.to_string())?;
    drop(sandbox);
    assert_eq!(store.entries("tmp").unwrap(), Vec::<PathBuf>::new());
    Ok(fs::read_to_string(output).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn scripts_are_another_user_without_more_rights_on_a_machine_without_a_name() {
    let said = inside(
        "id -u; hostname; grep NoNewPrivs /proc/self/status; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; \
         read inside outside count < /proc/self/uid_map; [ $outside = 0 ] || echo mapped; env | cut -d= -f1 | sort",
    );
    let names = ["HOME", "LC_ALL", "PATH", "PWD", "TMPDIR", "TZ"];
    let expected = ["0", "localhost", "NoNewPrivs:\t1", "lo", "mapped"].into_iter().chain(names);
    assert_eq!(said.unwrap(), expected.collect::<Vec<_>>());
}

#[test]
fn scripts_see_no_home_no_keys_and_nothing_of_the_store_but_their_own_folder() {
    let secret = tempfile::Builder::new().prefix("psyops-secret-").tempfile().unwrap();
    let place = secret.path().display();
    let said = inside(&format!(
        "ls -A /home /root /sys /archive /etc | tr '\\n' ' '; echo; cat {place} 2>&1; ls /proc | grep -c '^[0-9]'; \
         touch /usr/x 2>&1; touch /archive/x 2>&1; touch /x 2>&1; echo x > /build/x && echo written"
    ))
    .unwrap();
    assert_eq!(
        said[0],
        "/archive:  /etc: alternatives apt dpkg group hostname passwd  /home:  /root:  /sys: "
    );
    assert!(said[1].ends_with("No such file or directory"), "{said:?}");
    assert!(said[2].parse::<u32>().unwrap() < 8, "processes of the machine are seen: {said:?}");
    for refused in &said[3..5] {
        assert!(refused.ends_with("Read-only file system"), "{said:?}");
    }
    assert!(said[5].ends_with("Permission denied"), "{said:?}");
    assert_eq!(said[6], "written");
}

#[test]
fn scripts_read_the_same_from_the_random_devices_of_the_same_packages() {
    let one = inside("head -c 48 /dev/urandom | od -An -tx1; head -c 16 /dev/random | od -An -tx1").unwrap();
    assert_eq!(
        one,
        inside("head -c 48 /dev/urandom | od -An -tx1; head -c 16 /dev/random | od -An -tx1").unwrap()
    );
    assert_eq!(one[0], one[3]);
}

#[test]
fn what_a_script_starts_ends_with_it_and_its_failure_is_told() {
    let said = inside("sleep 1000 & echo started").unwrap();
    assert_eq!(said, ["started"]);
    let error = inside("echo no such luck >&2; exit 3").unwrap_err();
    assert!(error.contains("exit status: 3") && error.contains("no such luck"), "{error}");
}
