#!/bin/sh
# Runs the npm release of the public suite for HTTP caches against a gateway and
# compares the results with those that are committed. With REDIS_URL set, the gateway
# has that Redis for a second level, and only a little memory in front of it.
set -eu
cd "$(dirname "$0")/.."
here=$PWD/conformance
release=http-cache-tests@0.4.5

work=$(mktemp -d)
origin= gateway=
finish() {
	for process in $origin $gateway; do
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
if [ -n "${REDIS_URL:-}" ]; then
	printf 'redis: {url: "%s"}\ncache: {memory: 1MB}\n' "$REDIS_URL" >>"$work/config.yaml"
fi

go build -o "$work/gateway" ./cmd/gateway
cd "$work"
npm pack --silent "$release" >/dev/null
tar xzf ./*.tgz
cd package
npm install --silent --omit=dev --ignore-scripts --no-audit --no-fund

npm_config_protocol=http npm_config_port=$ORIGIN_PORT npm_config_pidfile=$work/pid node server/server.mjs >"$work/origin.log" 2>&1 &
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
npm_package_config_id='' npm_config_base=http://127.0.0.1:$GATEWAY_PORT/suite node --no-warnings cli.mjs >"$work/results.json"
node --no-warnings "$here/compare.mjs" "$work/package" "$work/results.json" "$here/expected.json" "${1:-}"
