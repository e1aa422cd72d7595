#!/bin/sh
# Formats checked, code vetted, every test run with the race detector. Besides Go it
# needs a C compiler, for that detector, and redis-server, prometheus and chromium, which
# tests start for themselves; on Debian and its like it installs what is missing.
set -eu
cd "$(dirname "$0")"

# Without these nothing can be tested; RUNLEVEL keeps a package from starting its daemon.
missing=
command -v cc >/dev/null 2>&1 || missing="gcc libc6-dev"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
# Without these the tests of the alerts and of the page skip themselves.
wanted=
command -v prometheus >/dev/null 2>&1 || wanted="prometheus"
command -v chromium >/dev/null 2>&1 || wanted="$wanted chromium"
if [ -n "$missing$wanted" ]; then
	echo "installing $missing $wanted"
	apt-get update -q
	[ -z "$missing" ] || RUNLEVEL=1 apt-get install -q -y --no-install-recommends $missing
	[ -z "$wanted" ] || RUNLEVEL=1 apt-get install -q -y --no-install-recommends $wanted ||
		echo "$wanted cannot be installed: the tests that need it are skipped"
fi
export EBOX_TEST_REDIS=required

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "gofmt wants to change: $unformatted" >&2
	exit 1
fi
# With the detector, what vet needs compiled serves the tests too.
go vet -race ./...
# Many tests wait for time-outs rather than compute: more of them at once than cores.
exec go test -race -vet=off -parallel 6 -timeout 6m "$@" ./...
