//! The ends of the help texts: examples and exit codes. `docs/reference/exit-codes.md` has the same codes and texts; the
//! test `exit_codes` of the builder compares them.

pub(super) const PROGRAM: &str = "Examples:
  psyops-agent status
  psyops-agent secrets check
  psyops-agent pause-syslog -- systemctl restart rsyslog

The help of each command lists its exit codes.";

pub(super) const STATUS: &str = "Examples:
  psyops-agent status
  psyops-agent status --json | jq .report.faults
  ssh root@pi1 psyops-agent status --short || echo 'look at pi1'

Exit codes:
  0    all is well
  1    the node runs, but it is degraded or its configuration failed
  2    wrong use
  3    not known: the configuration still runs, or there is no report
  4    the node is in rescue";

pub(super) const CONFIGURE: &str = "Examples:
  psyops-agent configure                    apply all roles again
  psyops-agent configure --stage identity   host name, network and users

The log is in /var/log/psyops/configure-STAGE.log.

Exit codes:
  0    all roles are applied
  1    a role failed, or the run cannot start
  2    wrong use
  75   another run is not finished
  124  the deadline was reached";

pub(super) const TIMELINE: &str = "Examples:
  psyops-agent timeline

Exit codes:
  0    the timeline is written
  1    it cannot be written
  2    wrong use";

pub(super) const SECRETS: &str = "Examples:
  psyops-agent secrets check
  psyops-agent secrets fix

Exit codes:
  0    the secret partition is as in the seal
  1    it differs
  2    wrong use
  3    not known: the seal or the partition cannot be read";

pub(super) const SEAL_INSTALL: &str = "Examples, on the workstation after build-image made seals/pi1.seal:
  ssh root@pi1 psyops-agent seal install - < seals/pi1.seal
  ssh root@pi1 reboot

Exit codes:
  0    the seal is on the stick
  1    the node's own state cannot be read
  2    wrong use
  65   not a seal of this site
  66   there is no such file
  74   reading or writing failed
  77   refused: it is older, another node's, or for a newer system";

pub(super) const REBOOT: &str = "Examples:
  psyops-agent reboot
  psyops-agent reboot --rescue --json   start the rescue shell at the next boot, once

Exit codes:
  0    the machine restarts
  1    it cannot be restarted
  2    wrong use
  74   the request for rescue cannot be written; the machine does not restart";

pub(super) const PAUSE_SYSLOG: &str = "Examples:
  psyops-agent pause-syslog -- systemctl restart rsyslog
  psyops-agent pause-syslog --logfile /var/log/psyops/update.log -- /root/update.sh

Messages keep their sender (user, group, and the process while it runs), time and order. Each user has a limited share of \
the space; messages beyond it are dropped, and `psyops-agent status` shows how many. Replaying delays the end of the \
command by at most 10 seconds; the rest is replayed in the background.

Exit codes:
  0 to 124  the exit code of the command
  2    wrong use
  125  syslog could not be paused
  126, 127  the command cannot be started, or does not exist
  128 + N  signal N ended the command";
