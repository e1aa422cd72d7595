#!/bin/sh
# Formats checked, every test run with the race detector, code vetted. Besides Go that
# needs a C compiler, for the detector, and what the tests start for themselves: a Redis, a
# Prometheus, a browser, and the runtimes of the examples. On Debian and its like what is
# missing is installed, so that no test is skipped for want of it.
set -eu
cd "$(dirname "$0")"

missing=
need() { # command package...
	command -v "$1" >/dev/null 2>&1 && return
	shift
	missing="$missing $*"
}
need cc gcc libc6-dev
need redis-server redis-server
need prometheus prometheus
need promtool prometheus
need chromium chromium
need curl curl
need python3 python3
need php php-cli
need javac default-jdk-headless
need openssl openssl
need ssh-keygen openssh-client
need systemd-analyze systemd
need setpriv util-linux
need useradd passwd
if [ -n "$missing" ]; then
	echo "installing$missing"
	apt-get update -q
	# RUNLEVEL keeps a package from starting its daemon.
	RUNLEVEL=1 apt-get install -q -y --no-install-recommends $missing
fi
export EBOX_TEST_PROGRAMS=all # a test fails for want of one

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "gofmt wants to change: $unformatted" >&2
	exit 1
fi

# The product's module and those that stand apart are tested by one command, so that
# nothing is compiled twice and tests of one wait while another is compiled. Each of the
# modules also builds alone: a test compares the versions that they require.
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
export GOWORK="$workspace/go.work"
packages=
(cd "$workspace" && go work init)
for module in $(find . -name go.mod -not -path './vendor/*' -exec dirname {} +); do
	go work use "$module"
	packages="$packages $module/..."
done
# What is named first is compiled and begun first: what takes longest.
longest="./test/whole ./docs/examples ./test/browser/... ./test/k8s/... ./tools/release ./internal/audit"
longest="$longest ./internal/redisstore ./internal/listen ./cmd/gateway"
# Some tests compile the product with -trimpath: as these tests then are, what is compiled
# serves both. No debugger is used. The clients of Redis and of Kubernetes have thousands of
# methods that nothing here calls: without inlining they are compiled in two thirds of the time.
GOFLAGS="${GOFLAGS-} -trimpath -gcflags=all=-dwarf=false"
export GOFLAGS="$GOFLAGS -gcflags=github.com/redis/go-redis/v9=-l -gcflags=k8s.io/...=-l"
# With the race detector a program waits a second before it exits, for reports of what still
# runs: each of those that the tests start, and each test.
export GORACE="${GORACE-} atexit_sleep_ms=20"
# Many tests wait for time-outs rather than compute: of them, and of compilers meanwhile, more
# at once than cores.
go test -race -vet=off -p 5 -parallel 4 -timeout 15m "$@" $longest $packages
GOTOOLDIR=$(go env GOTOOLDIR) go vet -race -vettool="$PWD/tools/vet" $packages
