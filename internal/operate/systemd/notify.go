package systemd

import (
	"net"
	"os"
	"strings"
)

// Notify says to systemd how the service is doing (sd_notify(3)), if it was systemd that
// started it with Type=notify. What systemd does not take changes nothing here.
func Notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if strings.HasPrefix(path, "@") { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
