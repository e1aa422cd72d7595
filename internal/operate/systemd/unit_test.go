package systemd_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ebox-gateway/internal/operate/systemd"
	"ebox-gateway/internal/testkit"
)

func TestSystemdIsNotified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	testkit.Must(t, err)
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	systemd.Notify("READY=1")
	testkit.Must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	b := make([]byte, 64)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", path+".gone")
	systemd.Notify("STOPPING=1") // nobody is there, which is no failure
}

func TestAUnitSaysHowItsServiceRuns(t *testing.T) {
	dir := t.TempDir()
	environment := filepath.Join(dir, "environment")
	unitFile := filepath.Join(dir, "ebox.service")
	testkit.Must(t, os.Mkdir(unitFile+".d", 0o700))
	for file, content := range map[string]string{
		environment: "# secrets\nONE=1\n TWO = \"a b\"\n; and\n\nTHREE='x=y'\n",
		unitFile: "[Unit]\nUser=nobody\n[Service]\nUser=ebox\nGroup=ebox\nSupplementaryGroups=a b\nEnvironmentFile=" +
			environment + "\nEnvironmentFile=-" + dir + "/none\n" +
			"Environment=\"FOUR=4 5\" FIVE=5\nLimitNOFILE=1024:65536\nExecStart=/usr/local/bin/gateway serve \\\n  " +
			"--config /etc/ebox.yaml\n",
		unitFile + ".d/user.conf": "[Service]\nUser=other\n",
	} {
		testkit.Write(t, file, content)
	}
	u, err := systemd.ReadUnit(unitFile)
	testkit.Must(t, err)
	if u.User != "other" || u.Group != "ebox" || u.Config != "/etc/ebox.yaml" || u.OpenFiles != 65536 ||
		!slices.Equal(u.Groups, []string{"a", "b"}) ||
		!slices.Equal(u.Environment, []string{"ONE=1", "TWO=a b", "THREE=x=y", "FOUR=4 5", "FIVE=5"}) {
		t.Errorf("%+v", u)
	}
}
