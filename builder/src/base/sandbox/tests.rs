//! What programs inside the sandbox can see, and what they cannot.

use super::*;

fn inside(script: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path()).unwrap();
    let sandbox =
        Sandbox::new(Architecture::DEFAULT, &store, &Sha256Digest::of(b"lock"), 1_793_491_200).unwrap();
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
        "/archive:  /etc: alternatives apt dpkg group hostname ld.so.preload passwd  /home:  /root:  /sys: "
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
fn scripts_can_read_what_they_need_whatever_the_umask_of_the_builder_is() {
    use nix::sys::stat::{Mode, umask};
    let before = umask(Mode::from_bits_truncate(0o077));
    let said =
        inside("ls -ld /archive /build /tmp | cut -c1-10; head -c 4 /dev/urandom | wc -c; date +%s 2>&1");
    umask(before);
    let folder = "drwxr-xr-x";
    assert_eq!(said.unwrap(), [folder, folder, folder, "4", "1793491200"]);
}

#[test]
fn processes_of_a_script_end_with_it_and_its_failure_is_reported() {
    let said = inside("sleep 1000 & echo started").unwrap();
    assert_eq!(said, ["started"]);
    let error = inside("echo no such luck >&2; exit 3").unwrap_err();
    assert!(error.contains("exit status: 3") && error.contains("no such luck"), "{error}");
}

/// Prints what programs of different kinds read from the clock and from random sources, a line each.
const DATES_AND_CHANCE: &str = "date +%s.%N; date --iso-8601=seconds; perl -e 'print time, qq(\\n)'; perl -e 'sleep 1; print time, qq(\\n)'; \
     bash -c 'echo $EPOCHSECONDS'; env -i date +%s; perl -e 'print rand, qq(\\n)'; head -c 8 /dev/urandom | od -An -tx1; \
     shuf -i 1-1000000 -n 3 | tr '\\n' ' '; echo; mktemp -u; perl -MFile::Temp=tempfile -e 'print((tempfile)[1], qq(\\n))'; \
     perl -e 'print join(q( ), keys %{{map {$_ => 1} 1 .. 30}}), qq(\\n)'; perl -e 'print \\my $x, qq(\\n)'";

#[test]
fn scripts_see_the_build_time_and_the_same_random_numbers_whenever_they_run() {
    let one = inside(DATES_AND_CHANCE).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let two = inside(DATES_AND_CHANCE).unwrap();
    assert_eq!(one, two);
    let dates = [
        "1793491200.000000000",
        "2026-11-01T00:00:00+00:00",
        "1793491200",
        "1793491201",
        "1793491200",
        "1793491200",
    ];
    assert_eq!(one[..6], dates);
    assert_eq!(one.len(), 13, "{one:?}");
}

#[test]
fn a_script_that_waits_for_a_time_ends() {
    let said = inside(
        "perl -e 'my $end = time + 1; 1 while time < $end; print qq(asked\\n)'; \
         perl -e 'my $end = time + 2; sleep 1 while time < $end; print time, qq(\\n)'; \
         perl -MTime::HiRes=clock_nanosleep,CLOCK_REALTIME,TIMER_ABSTIME -e \
         'clock_nanosleep(CLOCK_REALTIME, 1793491201e9, TIMER_ABSTIME); print time, qq(\\n)'; \
         timeout 1 sleep 100; echo $?",
    );
    assert_eq!(said.unwrap(), ["asked", "1793491202", "1793491201", "124"]);
}
