#!/bin/sh
# Formats checked, code vetted, every test run with the race detector. The one
# thing it needs besides Go is a C compiler, for that detector; on Debian and its
# like it installs one if there is none.
set -eu
cd "$(dirname "$0")"

if ! command -v cc >/dev/null 2>&1; then
	echo "installing a C compiler for the race detector"
	apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev
fi

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "gofmt wants to change: $unformatted" >&2
	exit 1
fi
go vet ./...
exec go test -race -timeout 6m "$@" ./...
