# What the procedures of the pages need of a machine: a systemctl that starts what the units say, as
# their users, without systemd. TestProceduresWorkAsWritten puts the procedures behind it.
set -eu
mkdir -p /mnt/shims /usr/local/bin /usr/local/lib /etc/systemd/system
export PATH=/mnt/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cat >/mnt/shims/sudo <<'END'
#!/bin/sh
exec "$@"
END
cat >/mnt/shims/go <<'END'
#!/bin/sh
: # the test has built it
END
cat >/mnt/shims/systemctl <<'END'
#!/bin/sh
set -eu
stop() {
	[ -f /mnt/pid ] || return 0
	kill "$(cat /mnt/pid)"
	while kill -0 "$(cat /mnt/pid)" 2>/dev/null; do sleep 0.05; done
}
case "$*" in
daemon-reload) ;;
"enable --now ebox-gateway" | "restart ebox-gateway")
	stop
	gateway as-service serve >>/mnt/log 2>&1 &
	echo $! >/mnt/pid
	;;
"enable --now ebox-nightly.timer")
	# LoadCredential: a copy that the service's own user alone can read.
	mkdir -p /mnt/credentials /var/lib/ebox-nightly
	from=$(sed -n 's/^LoadCredential=enterprises.csv://p' /etc/systemd/system/ebox-nightly.service)
	install -m 0400 -o 64001 -g 64001 "$from" /mnt/credentials/enterprises.csv
	chown 64001:64001 /var/lib/ebox-nightly
	command=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/ebox-nightly.service | sed "s|%d|/mnt/credentials|")
	exec setpriv --reuid 64001 --regid 64001 --clear-groups $command --gateway "http://$GATE"
	;;
"stop ebox-gateway") stop ;;
*) echo "systemctl $*?" >&2; exit 1 ;;
esac
END
chmod 0755 /mnt /mnt/shims/*
trap 'systemctl stop ebox-gateway; cat /mnt/log >&2' EXIT
ready() {
	for _ in $(seq 600); do
		curl -fsS -o /mnt/ready "http://$ADMIN/readyz" 2>/dev/null &&
			gateway healthcheck --url "http://$ADMIN/readyz" && return
		sleep 0.1
	done
	echo "never ready" >&2
	exit 1
}
