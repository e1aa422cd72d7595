package whole_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// redisSection is the section of a configuration with a new encryption key, or none. It
// has patience: most tests are not about time, and the machine may be busy.
func redisSection(t *testing.T, server *redistest.Server, sealed bool) string {
	t.Helper()
	section := "\nredis:\n  url: redis://" + server.Addr + "/0\n  timeout: 1m\n"
	if sealed {
		section += "  encryptionKeys: [{id: k1, file: " + newKey(t) + "}]\n"
	}
	return section
}

func newKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "k1.key")
	secret := sha256.Sum256([]byte(rand.Text()))
	testkit.Write(t, file, hex.EncodeToString(secret[:]))
	return file
}

// group starts replicas before one simulator.
func group(t *testing.T, n int, edits ...func(*testing.T, string) string) []*house {
	t.Helper()
	houses := []*house{open(t, edits...)}
	for len(houses) < n {
		houses = append(houses, before(t, houses[0].sim, edits...))
	}
	for _, h := range houses {
		h.AwaitProviders()
		h.waitForRedis(redisstore.StateUp)
	}
	return houses
}

// waitForRedis waits until Redis is in a state, and subscribed to if it is up.
func (h *house) waitForRedis(state string) (s redisstore.Status) {
	h.t.Helper()
	eventually(h.t, "Redis to be "+state, func() bool {
		s = *h.status().Redis
		return s.State == state && (state != redisstore.StateUp || s.Subscribed)
	})
	return s
}

func TestThreeReplicasShareTheirTokens(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	houses := group(t, 3, add(redisSection(t, server, true)))
	sim := houses[0].sim
	call := func(times int) {
		var calls sync.WaitGroup
		for range times {
			for _, h := range houses {
				calls.Go(func() {
					if a := h.get(box); a.status != 200 {
						t.Errorf("status %d: %s", a.status, a.body)
					}
				})
			}
		}
		calls.Wait()
	}
	call(20)
	for what, n := range sim.TokensIssuedFor() {
		if n != 1 {
			t.Errorf("%d tokens were issued for %s", n, what)
		}
	}
	// What one upstream refuses is replaced once.
	before := sim.TokensIssued()
	sim.RevokeTokens()
	call(1)
	if n := sim.TokensIssued() - before; n > 2 { // the registry's may be among them
		t.Errorf("%d tokens were issued after one revocation", n)
	}
	for _, h := range houses {
		h.keepsSecrets(server.Addr + "/0")
	}
}

func TestRedisShowsNothingThatPassesThroughTheGateway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := group(t, 1, add(redisSection(t, server, true)))[0]
	secrets := []string{mandated, mandated[1:], "ebox/messages", "messageTypes", "eyJhbGciOi", "Bearer",
		"application/json", lab.Client(t).ID}
	for _, path := range []string{messages, messages + "?pageSize=5", box, own + reference} {
		secrets = append(secrets, h.get(path).want(t, 200).body[:40])
	}
	awaitKept(t, server, "answer")
	all := string(server.Everything())
	for _, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("Redis shows %q", secret)
		}
	}
}

// awaitKept waits until something of a kind is in Redis.
func awaitKept(t *testing.T, server *redistest.Server, kind string) {
	t.Helper()
	eventually(t, "something to be kept", func() bool { return strings.Contains(fmt.Sprint(server.Keys()), ":"+kind+":") })
}

func TestReplicasShareAnswersWritesPurgesAndMaintenance(t *testing.T) {
	t.Parallel()
	section := redisSection(t, redistest.Start(t), true)
	houses := group(t, 2, add(section))
	one, other := houses[0], houses[1]
	// A provider that lets its list be kept for an hour.
	says := func(body string) int {
		return one.fault(simulator.Fault{Upstream: upstreamOf(nsso), Method: http.MethodGet, Path: "/ebox/messages",
			Kind: simulator.FaultStatus, Status: http.StatusOK, Body: body, ContentType: "application/json",
			Header: http.Header{"Cache-Control": {"max-age=3600"}}})
	}
	gives := func(h *house, body string) func() bool {
		return func() bool { return h.get(messages).want(t, 200).body == body }
	}
	const unread, read, late = `{"read":false}`, `{"read":true}`, `{"late":true}`
	old := says(unread)
	one.get(messages).want(t, 200)
	eventually(t, "the other replica to have the answer", func() bool {
		return strings.Contains(other.get(messages).want(t, 200).cacheStatus(), "hit") && gives(other, unread)()
	})
	one.sim.RemoveFault(old)
	old = says(read)
	hideMessage(one)
	// In the replica that wrote it is there at once, in the other soon.
	if !gives(one, read)() {
		t.Error("the replica that wrote gives the former answer")
	}
	eventually(t, "the other replica to give the new list", gives(other, read))
	one.sim.RemoveFault(old)
	says(late)
	if !gives(other, read)() {
		t.Error("the new answer is not kept")
	}
	one.operate("POST", "/cache/purge?all=true").want(t, 200)
	eventually(t, "a purge at one to be one at the other", gives(other, late))

	one.operate("POST", "/maintenance?provider=nsso&for=1h&reason=both").want(t, 200)
	eventually(t, "the other replica to switch as well", func() bool { return other.get(box).status == 503 })
	other.operate("DELETE", "/maintenance?provider=nsso").want(t, 200)
	eventually(t, "the first replica to switch back", func() bool { return one.get(box).status == 200 })
	other.operate("POST", "/maintenance?gateway=true&for=1h").want(t, 200)
	third := before(t, one.sim, add(section))
	eventually(t, "a new replica to know", func() bool { return third.status().Health == "DOWN" })
}

func TestTheGatewayNeedsNoRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	h := open(t, add(strings.Replace(redisSection(t, server, true), "timeout: 1m", "timeout: 250ms", 1)))
	health := func() string { return h.operate("GET", "/health").body }
	degraded := func() bool { return strings.Contains(health(), `"redis"`) }
	h.get(box).want(t, 200)
	eventually(t, "the health to say DEGRADED", degraded)
	if text := health(); !strings.Contains(text, "DEGRADED") || !strings.Contains(text, "without Redis") {
		t.Error(text)
	}
	server.Run()
	h.waitForRedis(redisstore.StateUp)
	eventually(t, "the health to heal", func() bool { return !degraded() })

	// How long requests wait for a frozen Redis is shown in package redisstore.
	server.Freeze()
	defer server.Thaw()
	for range 20 {
		h.get(box).want(t, 200)
	}
	h.waitForRedis(redisstore.StateAway)
}

func TestTheListOfProvidersOutlivesARestartOfAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	section := redisSection(t, server, true)
	first := open(t, add(section))
	awaitKept(t, server, "list")
	testkit.Must(t, first.Stop())
	first.fault(simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: simulator.FaultClose})
	second := before(t, first.sim, add(section))
	second.AwaitProviders()
	second.get(box).want(t, 200)
	if s := second.status().Directory; s.Source != "shared" {
		t.Errorf("the list came from %q", s.Source)
	}
}

func TestANewEncryptionKeyIsTakenWithoutARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := watched(t, func(t *testing.T, text string) string { return add(redisSection(t, server, true))(t, text) })
	f.waitForRedis(redisstore.StateUp)
	f.get(box).want(t, 200)
	issued := f.sim.TokensIssued()
	text := testkit.Read(t, f.path("config.yaml"))
	f.write(t, "config.yaml", strings.Replace(text, "encryptionKeys: [", "encryptionKeys: [{id: k2, file: "+
		newKey(t)+"}, ", 1))
	eventually(t, "the new key", func() bool {
		s := f.status().Redis
		return len(s.Keys) == 2 && s.Keys[0] == "k2" && s.State == redisstore.StateUp && s.Subscribed
	})
	f.get(box).want(t, 200)
	if n := f.sim.TokensIssued(); n != issued {
		t.Errorf("%d tokens were asked for by the change", n-issued)
	}
	f.write(t, "config.yaml", strings.Replace(text, "encryptionKeys: [",
		"encryptionKeys: [{id: k3, file: missing.key}, ", 1))
	eventually(t, "the file without a key to be refused", func() bool { return f.status().Configuration.Rejected != nil })
	if s := f.status().Redis; s.Keys[0] != "k2" {
		t.Errorf("%+v", s)
	}
}

// Three gateways spend one rate. While Redis is away and back, the sum holds all the same: each replica has its
// share for each absence, and whoever is refused is told when to come back.
func TestARateOfTheClusterHoldsWhileRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	const burst = 12
	server := redistest.Start(t)
	houses := group(t, 3, add(redisSection(t, server, true)), edit("{number: 0206.731.645,",
		"{number: 0206.731.645, rate: {perSecond: 0.001, burst: 12, scope: cluster},"))
	for _, h := range houses {
		eventually(t, "the replicas to know of each other", func() bool { return h.status().Redis.Replicas == len(houses) })
	}
	// spend calls each replica until it refuses, and gives how many calls were admitted.
	spend := func() (admitted int) {
		for _, h := range houses {
			for {
				got := h.get(box)
				if got.status == 429 {
					if wait := retryAfterOf(t, got); wait <= 0 {
						t.Errorf("%s to wait", wait)
					}
					break
				}
				got.want(t, 200)
				if admitted++; admitted > 10*burst {
					t.Fatal("nobody is refused")
				}
			}
		}
		return admitted
	}
	reach := func(state string) {
		t.Helper()
		for _, h := range houses {
			h.waitForRedis(state)
		}
	}
	if n := spend(); n != burst {
		t.Errorf("%d calls were admitted", n)
	}
	if all := string(server.Everything()); strings.Contains(all, mandated) {
		t.Error("Redis shows whose rate it is")
	}
	server.Stop()
	reach(redisstore.StateAway)
	if n := spend(); n > burst {
		t.Errorf("%d calls were admitted without Redis", n)
	}
	server.Run()
	reach(redisstore.StateUp)
	if n := spend(); n > burst {
		t.Errorf("%d calls were admitted when it was back", n)
	}
}
