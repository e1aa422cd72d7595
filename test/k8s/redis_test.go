package k8s_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/testkit"
)

// The rights of the example are those that docs/redis.md says the gateway needs.
func TestTheACLIsThatOfTheDocumentation(t *testing.T) {
	word := regexp.MustCompile(`[+~&][a-z:*|]+|\b(resetkeys|resetchannels|nocommands)\b`)
	rights := func(text string) []string {
		words := word.FindAllString(text, -1)
		slices.Sort(words)
		return slices.Compact(words)
	}
	_, documented, found := strings.Cut(testkit.Read(t, "../docs/redis.md"), "ACL SETUSER gateway")
	if !found {
		t.Fatal("docs/redis.md has no ACL")
	}
	documented, _, _ = strings.Cut(documented, "```")
	example := testkit.Read(t, "components/redis/users.acl.example")
	if diff := cmp.Diff(rights(documented), rights(example)); diff != "" {
		t.Errorf("users.acl.example gives other rights (- docs/redis.md, + example):\n%s", diff)
	}
}

// A real server takes configuration and users, keeps strangers out and writes nothing.
func TestRedisTakesItsConfiguration(t *testing.T) {
	server := needs.Program(t, "redis-server", "redis-server")
	var conf string
	for _, m := range all[*corev1.ConfigMap](render(t, "production")) {
		if strings.HasPrefix(m.Name, "ebox-redis-") {
			conf = m.Data["redis.conf"]
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "users.acl"), testkit.Read(t, "components/redis/users.acl.example"))
	socket := filepath.Join(dir, "redis.sock")
	conf = strings.NewReplacer("/etc/redis/acl", dir, "port 6379", "port 0\nunixsocket "+socket, "dir /tmp",
		"dir "+dir).Replace(conf)
	write(t, filepath.Join(dir, "redis.conf"), conf)
	run := exec.CommandContext(t.Context(), server, filepath.Join(dir, "redis.conf"))
	var said strings.Builder
	run.Stdout, run.Stderr = &said, &said
	testkit.Must(t, run.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = run.Wait() }()
	t.Cleanup(func() { _ = run.Process.Kill(); <-ended })
	testkit.Eventually(t, "Redis", func() bool {
		select {
		case <-ended:
			t.Fatalf("Redis does not start:\n%s", said.String())
		default:
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	as := func(user, password string) *redis.Client {
		c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Username: user, Password: password,
			DisableIdentity: true})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ctx := t.Context()
	if err := as("", "").Ping(ctx).Err(); err == nil {
		t.Error("everybody may use Redis")
	}
	gateway := as("gateway", "change-this-password")
	if err := gateway.Set(ctx, "ebox:test:a", "b", time.Minute).Err(); err != nil {
		t.Errorf("the gateway may not write: %v", err)
	}
	for what, err := range map[string]error{
		"another's key":     gateway.Set(ctx, "shop:a", "b", time.Minute).Err(),
		"FLUSHALL":          gateway.FlushAll(ctx).Err(),
		"the configuration": gateway.ConfigGet(ctx, "*").Err(),
	} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("the gateway may touch %s: %v", what, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.rdb")); len(files) > 0 {
		t.Errorf("Redis wrote %v", files)
	}
}
