#!/bin/bash
# A program that knows one base URL and HTTP/1.0, and no header: bash alone. With nc it
# is printf 'GET … HTTP/1.0\r\n\r\n' | nc 127.0.0.1 8080.
# Usage: http10.sh [CBE number]; GATEWAY says where the gateway is.
set -eu
gateway=${GATEWAY:-http://127.0.0.1:8080}
authority=${gateway#http://}
exec 3<>"/dev/tcp/${authority%:*}/${authority#*:}"
printf 'GET /enterprises/%s/ebox/providers/nsso/ebox/messages?pageSize=1 HTTP/1.0\r\n\r\n' "${1:-0206731645}" >&3
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
cat <&3 >"$answer"
status=$(sed -n '1s/\r$//p' "$answer")
echo "$status" # HTTP/1.0 200 OK
body=$(sed '1,/^\r$/d' "$answer" | wc -c)
length=$(sed -n '/^\r$/q;s/^[Cc]ontent-[Ll]ength: *\([0-9]*\).*/\1/p' "$answer")
# The end of the connection is the end of the answer, or of the cable. Compare.
if [ -n "$length" ] && [ "$length" != "$body" ]; then
	echo "the answer was cut short: $body of $length bytes" >&2
	exit 1
fi
case $status in
*' 200 '*) grep -o '"messageId":"[^"]*"' "$answer" ;;
*)
	sed '1,/^\r$/d' "$answer"
	exit 1
	;;
esac
