#!/bin/sh
# Runs the npm release of the public suite for HTTP caches against a gateway and
# compares the results with those that are committed. With STORE=redis nothing is kept in
# the gateway's memory, everything in a Redis that is started for it, or in that of
# REDIS_URL. With SUITE=directory another version of the suite runs, one that has been
# made ready there (npm install), and only its numbers and failures are shown.
set -eu
[ -z "${SUITE:-}" ] || SUITE=$(cd "$SUITE" && pwd)
cd "$(dirname "$0")/.."
here=$PWD/conformance
release=http-cache-tests@0.4.5

work=$(mktemp -d)
origin= gateway= redis=
finish() {
	for process in $origin $gateway $redis; do
		kill "$process" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT INT TERM

port() {
	node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}
ORIGIN_PORT=$(port) GATEWAY_PORT=$(port) ADMIN_PORT=$(port)
export ORIGIN_PORT GATEWAY_PORT ADMIN_PORT

cp "$here/config.yaml" "$work/config.yaml"
case ${STORE:-memory} in
memory)
	tags=
	;;
redis)
	tags=redisonly
	if [ -z "${REDIS_URL:-}" ]; then
		REDIS_URL=unix://$work/redis.sock
		redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" &
		redis=$!
	fi
	printf 'redis: {url: "%s", timeout: 1s}\n' "$REDIS_URL" >>"$work/config.yaml"
	;;
*)
	echo "STORE is memory or redis, not $STORE" >&2
	exit 2
	;;
esac

go build -tags "$tags" -o "$work/gateway" ./cmd/gateway
engine=.
cd "$work"
if [ -n "${SUITE:-}" ]; then
	ln -s "$SUITE" package
	cd package
	[ ! -d test-engine ] || engine=test-engine # where the project's repository has it
else
	npm pack --silent "$release" >/dev/null
	tar xzf ./*.tgz
	cd package
	npm install --silent --omit=dev --ignore-scripts --no-audit --no-fund
fi

npm_config_protocol=http npm_config_port=$ORIGIN_PORT npm_config_pidfile=$work/pid node "$engine/server/server.mjs" >"$work/origin.log" 2>&1 &
origin=$!
"$work/gateway" serve --config "$work/config.yaml" >"$work/gateway.log" 2>&1 &
gateway=$!
for _ in $(seq 100); do
	"$work/gateway" healthcheck --url "http://127.0.0.1:$ADMIN_PORT/readyz" 2>/dev/null && ready=1 && break
	sleep 0.1
done
if [ -z "${ready:-}" ]; then
	cat "$work/gateway.log" >&2
	exit 1
fi
npm_package_config_id='' npm_config_base=http://127.0.0.1:$GATEWAY_PORT/suite node --no-warnings "$engine/cli.mjs" >"$work/results.json"
if [ -n "${SUITE:-}" ]; then
	node --no-warnings "$here/compare.mjs" "$work/package" "$work/results.json"
else
	node --no-warnings "$here/compare.mjs" "$work/package" "$work/results.json" "$here/expected.json" "${1:-}"
fi
