#!/bin/bash
# A program that knows one base URL and HTTP/1.0, and no header: bash alone. With nc it
# is printf 'GET … HTTP/1.0\r\n\r\n' | nc 127.0.0.1 8080.
# Usage: http10.sh [CBE number]; GATEWAY says where the gateway is.
set -eu
gateway=${GATEWAY:-http://127.0.0.1:8080}
authority=${gateway#http://}
exec 3<>"/dev/tcp/${authority%:*}/${authority#*:}"
printf 'GET /enterprises/%s/ebox/providers/nsso/ebox/messages?pageSize=1 HTTP/1.0\r\n\r\n' "${1:-0206731645}" >&3
answer=$(cat <&3)
printf '%s\n' "${answer%%$'\r'*}" # HTTP/1.0 200 OK
grep -o '"messageId":"[^"]*"' <<<"$answer" || tail -n 1 <<<"$answer"
