#!/bin/sh
# An example of a command role: writes a file and a line to the log.
# Its output goes to /var/log/psyops/configure-configure.log, its exit status into the report.
set -eu

mkdir -p /var/lib/example
printf 'node %s, stage %s\n' "$PSYOPS_NODE" "$PSYOPS_STAGE" > /var/lib/example/configured
logger -t example "node $PSYOPS_NODE is configured"
echo "wrote /var/lib/example/configured"
