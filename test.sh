#!/bin/sh
# Formats checked, code vetted, every test run with the race detector. Besides Go it
# needs a C compiler, for that detector, and redis-server, which tests start for
# themselves; on Debian and its like it installs what is missing.
set -eu
cd "$(dirname "$0")"

missing=
command -v cc >/dev/null 2>&1 || missing="gcc libc6-dev"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
if [ -n "$missing" ]; then
	echo "installing $missing"
	apt-get update -q && apt-get install -q -y --no-install-recommends $missing
fi
export EBOX_TEST_REDIS=required

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "gofmt wants to change: $unformatted" >&2
	exit 1
fi
go vet ./...
exec go test -race -timeout 6m "$@" ./...
