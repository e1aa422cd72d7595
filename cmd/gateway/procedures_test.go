// The tests are inside the package: a command exports nothing.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// root is that of the repository. It is worked out before a command changes the working directory.
var root, _ = filepath.Abs("../..")

// blocks are the commands of one section of docs/operations.md, in order.
func blocks(t *testing.T, heading string) (list []string) {
	t.Helper()
	_, section, ok := strings.Cut(testkit.Read(t, filepath.Join(root, "docs/operations.md")), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/operations.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for i, block := range strings.Split(section, "```") {
		if code, isShell := strings.CutPrefix(block, "sh\n"); i%2 == 1 && isShell {
			list = append(list, code)
		}
	}
	return list
}

// mounts give the procedures /etc, /usr/local and /var/lib of their own.
const mounts = `set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc
mount -t tmpfs tmpfs /usr/local
mount -t tmpfs tmpfs /var/lib
`

// The pages tell what to type. It is typed here, by root, before a service that runs as
// its own user.
func TestProceduresWorkAsWritten(t *testing.T) {
	for tool, packaged := range map[string]string{
		"unshare": "util-linux", "setpriv": "util-linux", "useradd": "passwd", "python3": "python3", "curl": "curl",
	} {
		needs.Program(t, packaged, tool)
	}
	isolated := []string{"unshare", "--mount"}
	if os.Geteuid() != 0 {
		isolated = []string{"unshare", "--mount", "--map-root-user", "--map-auto"}
	}
	prepared, here := mounts, strings.NewReplacer()
	if out, err := exec.Command(isolated[0], append(isolated[1:], "mount", "-t", "tmpfs", "tmpfs", "/mnt")...).
		CombinedOutput(); err != nil {
		if os.Geteuid() != 0 {
			needs.Missing(t, "neither root nor mounts of one's own on this machine: run it as root: %v %s", err, out)
		}
		isolated, prepared, here = nil, "", below(t)
	}
	t.Parallel()
	dir, client := lab.Dir(t), lab.Client(t)
	write := func(name, content string) {
		t.Helper()
		testkit.Write(t, filepath.Join(dir, name), content)
	}
	renewed, err := simulator.SelfSigned("Demo office", time.Now())
	testkit.Must(t, err)
	store, err := renewed.PKCS12("another")
	testkit.Must(t, err)
	client.Renewed = append(client.Renewed, renewed.Certificate)
	sim := lab.Simulator(t, simulator.Options{Clients: []simulator.Client{client}})
	gate, admin := testkit.Address(t), testkit.Address(t)
	config := demo.Config(sim, gate, admin)
	config = strings.Replace(config, "clientId: "+client.ID, "clientId: \"${EBOX_CLIENT_ID}\"", 1)
	config = strings.Replace(config, "password: demo", "passwordFile: client.p12.password", 1)
	config = strings.Replace(config, "tenancy:\n", "tenancy:\n  enterpriseFiles: [enterprises.csv]\n", 1)
	first, _, _ := strings.Cut(config, "  enterprises:\n")
	_, rest, _ := strings.Cut(config, "registry:\n")
	write("config.yaml", first+"registry:\n"+rest)
	write("client.p12.password", "demo\n")
	write("new.p12", string(store))
	write("new.password", "another\n")
	write("enterprises.csv", "number,name\n0206.731.645,A\n0212.148.896,B\n")
	program, err := os.Executable()
	testkit.Must(t, err)
	for _, name := range []string{"gateway", "gateway-new"} {
		testkit.Must(t, os.Symlink(program, filepath.Join(dir, name)))
	}
	testkit.Must(t, os.MkdirAll(filepath.Join(dir, "docs/examples/systemd"), 0o700))
	for _, name := range []string{
		"nightly_poll.py", "systemd/ebox-gateway.service", "systemd/ebox-nightly.service", "systemd/ebox-nightly.timer",
	} {
		write("docs/examples/"+name, here.Replace(testkit.Read(t, filepath.Join(root, "docs/examples", name))))
	}

	install := strings.Replace(strings.Join(blocks(t, "Install"), "\n"), "EBOX_CLIENT_ID=…",
		"EBOX_CLIENT_ID="+client.ID, 1)
	// The list is installed as it is changed, before the first start.
	install = strings.Replace(install, "sudo systemctl daemon-reload\n", blocks(t, "Add 200 enterprises")[1]+
		"sudo systemctl daemon-reload\n", 1)
	rotate := strings.Join(blocks(t, "Rotate a certificate"), "\n")
	nightly := blocks(t, "A nightly poll of 40,000 boxes")
	upgrade := blocks(t, "Upgrade and roll back")[0]
	machine := testkit.Read(t, filepath.Join(root, "cmd/gateway/testdata/machine.sh"))
	script := machine + fmt.Sprintf("export GATE=%s ADMIN=%s\n", gate, admin) +
		install + "ready\n[ \"$(ps -o user= -p $(cat /mnt/pid))\" = ebox-gateway ]\n" +
		rotate + "sudo systemctl restart ebox-gateway\nready\ngateway status --config /etc/ebox-gateway/config.yaml " +
		"--admin http://$ADMIN\n" +
		upgrade + "ready\n" +
		nightly[1] +
		// What the page warns of: seen by root, and by the service.
		"chmod 0600 /etc/ebox-gateway/client.p12\n! gateway as-service check\n" +
		"EBOX_CLIENT_ID=x; export EBOX_CLIENT_ID; ! gateway check --config /etc/ebox-gateway/config.yaml\necho \"all done\"\n"
	write("procedures.sh", prepared+here.Replace(script))
	words := append(isolated, "sh", "-x", "procedures.sh")
	command := exec.Command(words[0], words[1:]...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all done") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"permission denied", "root can read it, and the service's user ebox-gateway cannot",
		"boxes to ask at"} {
		if !strings.Contains(string(out), here.Replace(want)) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// below has the procedures work below a folder of their own, for a user that is there: root
// of a container may be any user and may mount nothing.
func below(t *testing.T) *strings.Replacer {
	t.Helper()
	root, err := os.MkdirTemp("", "machine")
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(root) })
		err = os.Chmod(root, 0o755)
	}
	testkit.Must(t, err)
	const service, instead = "ebox-gateway", "daemon"
	pairs := []string{"sudo useradd", ": useradd"}
	for _, place := range []string{"/etc/", "/usr/local/", "/var/lib/", "/mnt"} {
		pairs = append(pairs, place, root+place)
	}
	for _, user := range []string{"-g ", "User=", "Group=", "= ", "user "} {
		pairs = append(pairs, user+service, user+instead)
	}
	return strings.NewReplacer(pairs...)
}

func TestUnitsAreWellFormedAndClosed(t *testing.T) {
	needs.Program(t, "systemd", "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"ebox-gateway.service", "ebox-nightly.service", "ebox-nightly.timer"} {
		// Nothing is installed here: what is started is another program.
		content := strings.NewReplacer("/usr/local/bin/gateway", "/bin/true", "/usr/local/lib/ebox/nightly_poll.py",
			"/bin/true").Replace(testkit.Read(t, filepath.Join(root, "docs/examples/systemd", name)))
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		out, err := exec.Command("systemd-analyze", "verify", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), name+":") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// The threshold is in tenths.
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
		filepath.Join(dir, "ebox-gateway.service")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
