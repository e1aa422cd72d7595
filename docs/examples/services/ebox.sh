#!/bin/sh
# Lists the newest messages of one enterprise at one provider and saves the first
# document. Needs curl alone.
# Usage: ebox.sh [CBE number]; GATEWAY says where the gateway is.
set -eu
gateway=${GATEWAY:-http://127.0.0.1:8080}
number=${1:-0206731645}
provider=${PROVIDER:-nsso}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# call URL: status in $status, header in $work/header, body in $work/body. Reading may
# be repeated: three times on 429, 502, 503 and 504, after the time in Retry-After.
call() {
	for try in 1 2 3; do
		status=$(curl -sS -D "$work/header" -o "$work/body" -w '%{http_code}' --max-time 120 \
			-H "On-Behalf-Of-Enterprise-Number: $number" -H 'X-Actor: ebox.sh' "$1")
		case $status in
		429 | 502 | 503 | 504) sleep "$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$work/header" | grep . || echo 1)" ;;
		*) return 0 ;;
		esac
	done
}

call "$gateway/ebox/providers/$provider/ebox/messages?pageSize=3"
if [ "$status" != 200 ]; then
	author=upstream
	grep -qi '^proxy-status:.*error=' "$work/header" && author=gateway
	echo "status $status, said by the $author; request $(sed -n 's/^X-Request-Id: *\([^[:cntrl:]]*\).*/\1/pI' "$work/header")"
	cat "$work/body"
	echo
	exit 1
fi
grep -o '"messageId":"[^"]*"' "$work/body" | sed 's/.*:"\(.*\)"/message \1/'

# The link leads through the gateway. Fetching it marks the document read, so it is
# fetched once; --fail leaves nothing behind of a problem, and curl itself notices a
# download that was cut short.
link=$(sed 's/\\\//\//g' "$work/body" | grep -o '"contentHref":"[^"]*"' | sed -n '1s/.*:"\(.*\)"/\1/p')
curl -sS --fail -H "On-Behalf-Of-Enterprise-Number: $number" -o "$work/document" "$link"
echo "document of $(wc -c <"$work/document" | tr -d ' ') bytes"
