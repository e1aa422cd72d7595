package preflight_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/testkit"
)

func nobodyRuns(config.Listener) bool { return false }

// What a start or a night would find, a check finds first.
func TestCheckFindsWhatAStartWouldTripOver(t *testing.T) {
	cert, key := testkit.NewCertificate(t, nil).PEM()
	_, another := testkit.NewCertificate(t, nil).PEM()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer busy.Close()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"cert.pem": cert, "key.pem": key, "other.pem": another,
		"trivial": []byte("secret\n"), "same": bytes.Repeat([]byte("a"), 40), "empty": nil, "key.p12": nil, "$NAME": nil,
		"good":       []byte("5f0c1d7a9be24c6f8d3a7b6c5e4f3a2b\n"),
		"broken.pem": []byte("-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"),
	} {
		testkit.Write(t, filepath.Join(dir, name), content)
	}
	tls := func(cert, key string) string {
		return "server: {listen: [{address: 127.0.0.1:0, tls: {certFile: " + cert + ", keyFile: " + key + "}}]}"
	}
	admin := func(file string) string { return "admin: {listen: 127.0.0.1:0, tokenFile: " + file + "}" }
	for name, c := range map[string]struct {
		lines string
		later time.Duration
		runs  bool
		want  string
	}{
		"a listener's certificate is good": {lines: tls("cert.pem", "key.pem"),
			want: "certificate of server.listen|warning|CN=made in a test, valid until|new one"},
		"it is not there": {lines: tls("none.pem", "key.pem"),
			want: "certificate of server.listen|failed|none.pem|does not start"},
		"it is for another key": {lines: tls("cert.pem", "other.pem"),
			want: "certificate of server.listen|failed|does not match|does not start"},
		"it has expired": {lines: tls("cert.pem", "key.pem"), later: 72 * time.Hour,
			want: "certificate of server.listen|failed|has expired|callers refuse it"},
		"an authority cannot be read": {lines: "egress: {caFile: broken.pem}", want: "egress.caFile|failed|1 of 1"},
		"a bundle is not there":       {lines: "egress: {caFile: none.pem}", want: "egress.caFile|failed|no such file"},
		"the admin token is trivial": {lines: admin("trivial"),
			want: "admin token|warning|can be guessed|openssl rand"},
		"it is one character over and over": {lines: admin("same"), want: "admin token|warning|can be guessed"},
		"it is empty":                       {lines: admin("empty"), want: "admin token|failed|empty"},
		"no token is there":                 {lines: admin("none"), want: "admin token|failed|no such file"},
		"it is good":                        {lines: admin("good"), want: "admin token|ok|there"},
		"the admin listener is open without": {lines: "admin: {listen: \"0.0.0.0:0\"}",
			want: "admin token|warning|no admin.tokenFile|openssl rand"},
		"an address is in use": {lines: "server: {listen: \"" + busy.Addr().String() + "\"}",
			want: "address|failed|another program|ss -ltnp"},
		"an address is in use by the gateway": {lines: "server: {listen: \"" + busy.Addr().String() + "\"}", runs: true,
			want: "address|ok|the gateway that runs"},
		"more connections than files": {lines: "server: {limits: {maxConnections: 2000000000}}",
			want: "open files|warning|maxConnections is 2000000000|LimitNOFILE"},
		"a variable without braces": {
			lines: "server: {publicUrl: \"http://gw.example/$SITE_NAME\", listen: \"127.0.0.1:0\"}",
			want:  "configuration|warning|$SITE_NAME without braces"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "environment: simulation\noauth: {clients: {office: {clientId: a, keystore: {file: key.p12, password: " +
				"x}}}}\n" + c.lines + "\n"
			for _, key := range []string{"server", "admin"} {
				if !strings.Contains(c.lines, key+":") {
					text += key + ": {listen: \"127.0.0.1:0\"}\n"
				}
			}
			cfg, err := config.Parse("test.yaml", []byte(text), dir, os.LookupEnv)
			testkit.Must(t, err)
			expect(t, preflight.Offline(cfg, time.Now().Add(c.later), func(config.Listener) bool { return c.runs }), c.want)
		})
	}
}

func TestFilesOpenToOthersAreRisks(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	testkit.Must(t, os.Mkdir(open, 0o700))
	for name, mode := range map[string]os.FileMode{"config.yaml": 0o640, "key.p12": 0o644, "open/stop.txt": 0o662,
		"ca.pem": 0o644} {
		path := filepath.Join(dir, name)
		content := "environment: simulation\noauth: {clients: {office: {clientId: a, keystore: {file: " +
			"key.p12, password: x}}}}\n" +
			"tenancy: {suspendedFiles: [open/stop.txt]}\negress: {caFile: ca.pem}\n"
		if name != "config.yaml" {
			content = ""
		}
		testkit.Must(t, os.WriteFile(path, []byte(content), mode))
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	testkit.Must(t, os.Chmod(open, 0o777))
	cfg, err := config.Load(filepath.Join(dir, "config.yaml"), os.LookupEnv)
	testkit.Must(t, err)
	risks := preflight.Rights(cfg)
	for _, want := range []string{"key.p12 can be read by every user", "stop.txt can be changed by every user",
		"open is a folder in which every user"} {
		if !slices.ContainsFunc(risks, func(c preflight.Check) bool { return strings.Contains(c.Detail, want) }) {
			t.Errorf("%q is missing", want)
		}
	}
	if len(risks) != 3 { // neither the authorities, which are public, nor the group's right to read
		t.Errorf("%+v", risks)
	}
}
