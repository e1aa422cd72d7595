#!/bin/bash
# Measures the gateway beside the Go gateways that people would otherwise take, Caddy and
# Traefik, and a bare httputil.ReverseProxy: same upstream, same load, same two headers
# set, metrics on and an access line in JSON for each request. Nothing of theirs is kept:
# they are built through Go's module proxy in a temporary folder.
#
#   bench/compare.sh              # CADDY=v2.11.9 TRAEFIK=v3.7.13 ROUNDS=3 SECONDS_EACH=5
#   WORK=/tmp/compare bench/compare.sh        # keeps the folder, and builds only once
#
# Wants go, wrk, curl, openssl and taskset. Each proxy has one P and the first core to
# itself; upstream and wrk share the second, if there is one. A proxy runs only while it
# is measured.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
caddy=${CADDY:-v2.11.9} traefik=${TRAEFIK:-v3.7.13}
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-5} port=${PORT:-18080}
cores=$(nproc)
work=${WORK:-$(mktemp -d)}
mkdir -p "$work/bin"
export GOMODCACHE=$work/modules GOFLAGS="-modcacherw -mod=mod"

upstream= proxy=
finish() {
	for process in $proxy $upstream; do kill "$process" 2>/dev/null || true; done
	wait 2>/dev/null || true
	[ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

# --- building

build_caddy() {
	mkdir -p "$work/caddy" && cd "$work/caddy"
	cat >main.go <<-'END'
		package main

		import (
			caddycmd "github.com/caddyserver/caddy/v2/cmd"
			_ "github.com/caddyserver/caddy/v2/modules/standard"
		)

		func main() { caddycmd.Main() }
	END
	[ -e go.mod ] || go mod init compare/caddy
	go get "github.com/caddyserver/caddy/v2@$caddy" && go build -o "$work/bin/caddy" .
}

# Traefik's module holds less than its repository: a nested module of empty types is
# missing. Of what it requires, a fork of a package for basic and digest authentication and
# some clients of DNS services are not always to be had. What stands for them here is on the
# path of no request that is measured.
build_traefik() {
	local from
	from=$(go mod download -json "github.com/traefik/traefik/v3@$traefik" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	rm -rf "$work/traefik" && cp -r "$from" "$work/traefik" && cd "$work/traefik" && chmod -R u+w .
	mkdir -p pkg/config/dynamic/ext nodns
	printf 'module github.com/traefik/traefik/dynamic/ext\n\ngo 1.24\n' >pkg/config/dynamic/ext/go.mod
	cat >pkg/config/dynamic/ext/ext.go <<-'END'
		package ext

		type (
			HTTP      struct{}
			Router    struct{}
			RouterIng struct{}
		)

		func (RouterIng) ToRouter() Router { return Router{} }
	END
	cat >nodns/dns.go <<-'END'
		package dns

		import (
			"errors"

			"github.com/go-acme/lego/v5/challenge"
		)

		func NewDNSChallengeProviderByName(string) (challenge.Provider, error) {
			return nil, errors.New("built without DNS providers")
		}
	END
	sed -i 's#"github.com/go-acme/lego/v5/providers/dns"#dns "github.com/traefik/traefik/v3/nodns"#' pkg/provider/acme/provider.go
	sed -i 's/goauth\.CheckSecret/func(string, string) bool { return false }/' pkg/middlewares/auth/basic_auth.go
	sed -i 's/RequireAuthStale/RequireAuth/' pkg/middlewares/auth/digest_auth.go
	go mod edit -dropreplace github.com/abbot/go-http-auth -require github.com/abbot/go-http-auth@v0.4.0
	go build -o "$work/bin/traefik" ./cmd/traefik
}

(cd "$repository" && unset GOMODCACHE GOFLAGS && go build -o "$work/bin/gateway" ./cmd/gateway && go test -c -o "$work/bin/roles" ./bench)
[ -x "$work/bin/caddy" ] || (build_caddy) >"$work/caddy.log" 2>&1 || echo "Caddy does not build, see $work/caddy.log" >&2
[ -x "$work/bin/traefik" ] || (build_traefik) >"$work/traefik.log" 2>&1 || echo "Traefik does not build, see $work/traefik.log" >&2

# --- running

cd "$work"
rm -rf evidence hold upstream.out
mkfifo hold
exec 9<>hold # a role plays until its standard input ends

first=(env) other=(env)
[ "$cores" -eq 1 ] || first=(taskset -c 0) other=(taskset -c 1)

BENCH_ROLE=upstream GOMAXPROCS=1 "${other[@]}" bin/roles <hold >upstream.out 9>&- &
upstream=$!
until [ -s upstream.out ]; do sleep 0.1; done
read -r origin _ <upstream.out

[ -e client.key ] || openssl genrsa -out client.key 2048 2>/dev/null
gateway_config() { # gateway_config FILE CACHE MORE
	cat >"$1" <<-END
		environment: custom
		server: {listen: "127.0.0.1:$port"}
		admin: {listen: "127.0.0.1:$((port + 1))"}
		oauth: {tokenUrl: "http://$origin/token", clients: {bench: {clientId: bench, key: {file: client.key}}}}
		tenancy: {enterprises: [{number: 0206.731.645}]}
		registry: {providers: [{id: nsso, url: "http://$origin/base", apiVersion: "3.0"}]}
		routes: [{name: providers, kind: ebox, path: "/ebox/providers/{providerId}", upstream: {registry: true}, scopes: [messages], cache: $2}]
		$3
	END
}
gateway_config gateway.yaml '{enabled: false}' 'audit: {dir: evidence, replica: bench}'
gateway_config gateway-without-evidence.yaml '{enabled: false}' ''
gateway_config gateway-cached.yaml '{enabled: true, rules: [{paths: [/kept/**], defaultTtl: 1h}]}' 'audit: {dir: evidence, replica: bench}'

cat >Caddyfile <<-END
	{
		admin 127.0.0.1:$((port + 1))
		persist_config off
		auto_https off
		metrics
	}
	http://:$port {
		bind 127.0.0.1
		log {
			output stdout
			format json
		}
		reverse_proxy $origin {
			header_up Authorization "Bearer benchmark-token-of-a-usual-length-0123456789"
			header_up On-Behalf-Of-Enterprise-Number 0206731645
		}
	}
END
cat >routes.yaml <<-END
	http:
	  routers:
	    all: {rule: "PathPrefix(\`/\`)", service: upstream, middlewares: [headers]}
	  services:
	    upstream: {loadBalancer: {servers: [{url: "http://$origin"}]}}
	  middlewares:
	    headers:
	      headers:
	        customRequestHeaders:
	          Authorization: Bearer benchmark-token-of-a-usual-length-0123456789
	          On-Behalf-Of-Enterprise-Number: "0206731645"
END

begin() { # begin NAME: leaves its process in $proxy, its address in $address
	export GOMAXPROCS=1
	address=127.0.0.1:$port
	case $1 in
	reverseproxy)
		: >proxy.out
		BENCH_ROLE=reverseproxy BENCH_UPSTREAM=http://$origin "${first[@]}" bin/roles <hold >proxy.out 2>reverseproxy.err 9>&- &
		proxy=$!
		until [ -s proxy.out ]; do sleep 0.1; done
		read -r address _ <proxy.out
		;;
	gateway*) "${first[@]}" bin/gateway serve --config "$1.yaml" >/dev/null 2>"$1.err" 9>&- & proxy=$! ;;
	caddy) "${first[@]}" bin/caddy run --config Caddyfile --adapter caddyfile >/dev/null 2>caddy.err 9>&- & proxy=$! ;;
	traefik)
		"${first[@]}" bin/traefik --entrypoints.web.address=127.0.0.1:$port --entrypoints.metrics.address=127.0.0.1:$((port + 1)) \
			--providers.file.filename=routes.yaml --accesslog=true --accesslog.format=json \
			--metrics.prometheus=true --metrics.prometheus.entrypoint=metrics --log.level=ERROR \
			--global.checknewversion=false --global.sendanonymoususage=false >/dev/null 2>traefik.err 9>&- &
		proxy=$!
		;;
	esac
	unset GOMAXPROCS
}

load() { # load SECONDS PATH
	"${other[@]}" wrk -t1 -c32 -d"$1s" --latency -H 'On-Behalf-Of-Enterprise-Number: 0206731645' -H 'Accept: application/json' "http://$address$2"
}

ticks() { awk '{print $14 + $15}' "/proc/$proxy/stat"; }

measure() { # measure NAME WHAT PATH
	local before after
	for _ in $(seq 100); do
		! curl -fsS -o got -H 'On-Behalf-Of-Enterprise-Number: 0206731645' "http://$address$3" 2>/dev/null || break
		sleep 0.1
	done
	load 2 "$3" >/dev/null
	before=$(ticks)
	load "$seconds" "$3" >wrk.out
	after=$(ticks)
	if grep -q 'Non-2xx\|Socket errors' wrk.out; then
		cat wrk.out >&2
		exit 1
	fi
	awk -v name="$1" -v what="$2" -v spent="$((after - before))" -v hz="$(getconf CLK_TCK)" -v bytes="$(wc -c <got)" \
		-v memory="$(awk '/VmHWM/ {print $2}' "/proc/$proxy/status")" '
		function ms(s) { return s ~ /us$/ ? s / 1000 : s ~ /ms$/ ? s + 0 : s * 1000 }
		$1 == "50%" { p50 = ms($2) }
		$1 == "99%" { p99 = ms($2) }
		/requests in/ { n = $1; took = $4 }
		END { printf "%s\t%s\t%.1f\t%.2f\t%.2f\t%.0f\t%.0f\t%d\n", what, name, spent / hz / n * 1e6, p50, p99, n / took, memory / 1024, bytes }
	' wrk.out | tee -a results
}

: >results
echo "load average before: $(cut -d' ' -f1-3 /proc/loadavg), $(go version)"
printf 'what\tproxy\tCPU µs/request\tp50 ms\tp99 ms\trequests/s\tMiB ever resident\tbytes\n'
for _ in $(seq "$rounds"); do
	for name in reverseproxy caddy traefik gateway-without-evidence gateway gateway-cached; do
		[ "$name" != caddy ] && [ "$name" != traefik ] || [ -x "bin/$name" ] || continue
		begin "$name"
		case $name in
		gateway-cached) measure "$name" messages /ebox/providers/nsso/kept/messages ;;
		*)
			base=/base
			[ "${name#gateway}" = "$name" ] || base=/ebox/providers/nsso
			measure "$name" messages "$base/ebox/messages"
			measure "$name" document "$base/ebox/messages/1/attachments/2/content"
			;;
		esac
		kill "$proxy" && wait "$proxy" 2>/dev/null || true
		proxy=
	done
done
echo 'the median of the rounds:'
sort -t$'\t' -k1,2 -s results | awk -F'\t' '
	function median(v, n,   i, j, t) {
		for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
		return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}
	function show() { if (n) printf "%s\t%.1f\t%.2f\t%.2f\t%.0f\t%.0f\n", key, median(a, n), median(b, n), median(c, n), median(d, n), median(e, n) }
	$1 "\t" $2 != key { show(); key = $1 "\t" $2; n = 0 }
	{ n++; a[n] = $3 + 0; b[n] = $4 + 0; c[n] = $5 + 0; d[n] = $6 + 0; e[n] = $7 + 0 }
	END { show() }
'
