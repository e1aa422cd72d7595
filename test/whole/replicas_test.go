package whole_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/simulator"
)

// redisSection is the section of a configuration with a new encryption key, or none. It
// has patience: most tests are not about time, and the machine may be busy.
func redisSection(t *testing.T, server *redistest.Server, sealed bool) string {
	t.Helper()
	section := "\nredis:\n  url: redis://" + server.Addr + "/0\n  timeout: 5s\n"
	if sealed {
		section += "  encryptionKeys: [{id: k1, file: " + newKey(t) + "}]\n"
	}
	return section
}

func newKey(t *testing.T) string {
	t.Helper()
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "k1.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// group starts replicas before one simulator.
func group(t *testing.T, n int, edits ...func(*testing.T, string) string) []*house {
	t.Helper()
	houses := []*house{open(t, edits...)}
	for len(houses) < n {
		houses = append(houses, buildBefore(t, houses[0].sim, clientDir, nil, edits...))
	}
	for _, h := range houses {
		h.waitForProviders()
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

const inboxOf = "/enterprises/" + mandated + nsso + "/ebox/messages"

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
					if a := h.get("/enterprises/" + mandated + nsso + "/ebox"); a.status != 200 {
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
	var bodies []string
	for _, path := range []string{inboxOf, inboxOf + "?pageSize=5", "/enterprises/" + mandated + nsso + "/ebox",
		"/enterprises/" + mandated + nsso + "/referenceData/messageTypes"} {
		bodies = append(bodies, h.get(path).want(t, 200).body)
	}
	eventually(t, "answers to be kept", func() bool {
		for _, name := range server.Keys() {
			if strings.Contains(name, ":answer:") {
				return true
			}
		}
		return false
	})
	secrets := []string{mandated, mandated[1:], "ebox/messages", "messageTypes", "eyJhbGciOi", "Bearer",
		"application/json", clientIDOf(h)}
	for _, body := range bodies {
		var doc map[string]any
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		for name := range doc {
			if len(name) > 5 {
				secrets = append(secrets, `"`+name+`"`)
			}
		}
	}
	all := string(server.Everything())
	if len(all) < 500 {
		t.Fatalf("there is nothing to look at: %q", all)
	}
	for _, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("Redis shows %q", secret)
		}
	}
}

// clientIDOf is the OAuth client's id.
func clientIDOf(h *house) string { return h.status().Clients[0].ID }

func TestAnAnswerOfOneReplicaServesAnother(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	houses := group(t, 2, add(redisSection(t, server, true)))
	const path = "/enterprises/" + mandated + nsso + "/referenceData/messageTypes"
	asked := func() uint64 { return houses[0].sim.RequestCount(simulator.ProviderUpstream("nsso")) }
	first := houses[0].get(path).want(t, 200)
	before := asked()
	eventually(t, "the other replica to have the answer", func() bool {
		return strings.Contains(houses[1].get(path).want(t, 200).header.Get("Cache-Status"), "hit")
	})
	if second := houses[1].get(path).want(t, 200); asked()-before > 1 || second.body != first.body &&
		len(second.body) != len(first.body) {
		t.Errorf("the provider was asked %d times more", asked()-before)
	}
	// A purge at one is a purge at the other.
	houses[0].operate("POST", "/cache/purge?all=true").want(t, 200)
	purged := asked()
	eventually(t, "the other replica to ask again", func() bool {
		houses[1].get(path).want(t, 200)
		return asked() > purged
	})
}

func TestAWriteAtOneReplicaIsReadAtAnother(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	houses := group(t, 2, add(redisSection(t, server, true)))
	sim := houses[0].sim
	// A provider that lets its list be kept for an hour.
	says := func(body string) int {
		return houses[0].fault(simulator.Fault{
			Upstream: simulator.ProviderUpstream("nsso"), Method: http.MethodGet, Path: "/ebox/messages",
			Kind:   simulator.FaultStatus,
			Status: http.StatusOK, Body: body, ContentType: "application/json", Header: http.Header{"Cache-Control": {
				"max-age=3600"}},
		})
	}
	old := says(`{"read":false}`)
	for _, h := range houses {
		for range 2 {
			if a := h.get(inboxOf).want(t, 200); a.body != `{"read":false}` {
				t.Fatal(a.body)
			}
		}
		if a := h.get(inboxOf); !strings.Contains(a.header.Get("Cache-Status"), "hit") {
			t.Fatalf("the list is not kept: %v", a.header["Cache-Status"])
		}
	}
	sim.RemoveFault(old)
	says(`{"read":true}`)
	hideMessage(houses[0])
	// In the replica that wrote it is there at once, in the other soon.
	if a := houses[0].get(inboxOf).want(t, 200); a.body != `{"read":true}` {
		t.Errorf("the replica that wrote gives %s", a.body)
	}
	eventually(t, "the other replica to give the new list", func() bool {
		return houses[1].get(inboxOf).want(t, 200).body == `{"read":true}`
	})
}

func TestTheGatewayNeedsNoRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	h := open(t, add(strings.Replace(redisSection(t, server, true), "timeout: 5s", "timeout: 250ms", 1)))
	degraded := func() bool { return strings.Contains(h.health(t), `"redis"`) }
	h.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	eventually(t, "the health to say DEGRADED", degraded)
	if text := h.health(t); !strings.Contains(text, "DEGRADED") || !strings.Contains(text, "without Redis") {
		t.Error(text)
	}
	server.Run()
	h.waitForRedis(redisstore.StateUp)
	eventually(t, "the health to heal", func() bool { return !degraded() })

	// One request waits a moment for a frozen Redis, and then none. What they wait is
	// their own word: on a busy machine a request may take as long for other reasons.
	server.Freeze()
	defer server.Thaw()
	const asked = 20
	before := h.redisWaits.Load()
	for range asked {
		h.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	}
	if waited := h.redisWaits.Load() - before; waited > asked/2 {
		t.Errorf("%d of %d requests waited for Redis", waited, asked)
	}
	h.waitForRedis(redisstore.StateAway)
}

func TestCheckOnlineAsksRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := group(t, 1, add(redisSection(t, server, true)))[0]
	redisCheck := func() preflight.Check {
		for _, c := range preflight.Online(t.Context(), h.gw.View()) {
			if c.Part == "redis" {
				return c
			}
		}
		t.Fatal("Redis was not asked")
		return preflight.Check{}
	}
	eventually(t, "Redis to be found well", func() bool { c := redisCheck(); return c.Result == preflight.OK })
	server.Stop()
	if c := redisCheck(); c.Result != preflight.Warning || !strings.Contains(c.Detail, "refused") {
		t.Errorf("%+v", c)
	}
}

// health is the answer of /health.
func (h *house) health(t *testing.T) string {
	t.Helper()
	resp, err := h.http.Get(h.adm + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheListOfProvidersOutlivesARestartOfAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	section := redisSection(t, server, true)
	first := open(t, add(section))
	eventually(t, "the list to be kept", func() bool {
		for _, name := range server.Keys() {
			if strings.Contains(name, ":list:") {
				return true
			}
		}
		return false
	})
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	first.fault(simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: simulator.FaultClose})
	second := buildBefore(t, first.sim, clientDir, nil, add(section))
	second.waitForProviders()
	second.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	if s := second.status().Directory; s.Source != "shared" {
		t.Errorf("the list came from %q", s.Source)
	}
}

func TestANewEncryptionKeyIsTakenWithoutARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := watched(t, func(t *testing.T, text string) string { return add(redisSection(t, server, true))(t, text) })
	f.waitForRedis(redisstore.StateUp)
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	issued := f.sim.TokensIssued()
	text, err := os.ReadFile(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "config.yaml", strings.Replace(string(text), "encryptionKeys: [", "encryptionKeys: [{id: k2, file: "+
		newKey(t)+"}, ", 1))
	eventually(t, "the new key", func() bool {
		s := f.status().Redis
		return len(s.Keys) == 2 && s.Keys[0] == "k2" && s.State == redisstore.StateUp && s.Subscribed
	})
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	if n := f.sim.TokensIssued(); n != issued {
		t.Errorf("%d tokens were asked for by the change", n-issued)
	}
	f.write(t, "config.yaml", strings.Replace(string(text), "encryptionKeys: [",
		"encryptionKeys: [{id: k3, file: missing.key}, ", 1))
	eventually(t, "the file without a key to be refused", func() bool { return f.status().Configuration.Rejected != nil })
	if s := f.status().Redis; s.Keys[0] != "k2" {
		t.Errorf("%+v", s)
	}
}

// together waits until replicas know of each other.
func together(t *testing.T, houses []*house) {
	t.Helper()
	for _, h := range houses {
		eventually(t, "the replicas to know of each other", func() bool { return h.status().Redis.Replicas == len(houses) })
	}
}

func TestARateOfTheClusterIsSpentByAllReplicas(t *testing.T) {
	t.Parallel()
	const slow = "rate: {perSecond: 0.01, burst: 6, scope: cluster}"
	for _, c := range []struct {
		name, path string
		edit       func(*testing.T, string) string
	}{
		{"of an enterprise", box, edit("{number: 0206.731.645,", "{number: 0206.731.645, "+slow+",")},
		{"of a caller", box, edit("tenancy:\n", "callers:\n  - {name: desk, networks: [127.0.0.1/32], "+slow+
			"}\ntenancy:\n")},
		{"of a provider", box, providers(slow)},
		{"of a route", mandates, ofRoute("grant-citizen", slow)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var houses []*house
			section := add(redisSection(t, server, true))
			for range 3 {
				if houses == nil {
					houses = append(houses, build(t, c.edit, section))
				} else {
					houses = append(houses, buildBefore(t, houses[0].sim, clientDir, nil, c.edit, section))
				}
			}
			for _, h := range houses {
				eventually(t, "the first list", func() bool { return !h.status().Directory.LastSuccess.IsZero() })
				h.waitForRedis(redisstore.StateUp)
			}
			together(t, houses)
			for i := range 6 {
				houses[i%3].get(c.path).want(t, 200)
			}
			for _, h := range houses { // a token comes after 100 seconds
				got := h.get(c.path).want(t, 429)
				if wait := retryAfterOf(t, got); wait < 60*time.Second || wait > 101*time.Second {
					t.Errorf("%s to wait", wait)
				}
			}
			if all := string(server.Everything()); strings.Contains(all, mandated) || strings.Contains(all, "desk") {
				t.Error("Redis shows whose rate it is")
			}
		})
	}
}

// Three gateways under more load than their rate allows, while Redis freezes, ends and
// comes back: the sum holds all the time, and nobody gets anything but an answer or a
// refusal that says when to come back.
func TestARateOfTheClusterHoldsWhileRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	section := strings.Replace(redisSection(t, server, true), "timeout: 5s", "timeout: 500ms", 1)
	houses := group(t, 3, add(section), providers("rate: {perSecond: 60, burst: 60, scope: cluster}"))
	together(t, houses)
	houses[0].sim.ResetRequests()
	began := time.Now()
	var done atomic.Bool
	var admitted, refused atomic.Int64
	var callers sync.WaitGroup
	for _, h := range houses {
		for range 2 {
			callers.Go(func() {
				for !done.Load() {
					switch got := h.get(box); got.status {
					case 200:
						admitted.Add(1)
					case 429:
						refused.Add(1)
						if got.header.Get("Retry-After") == "" {
							t.Error("a refusal does not say when to come back")
						}
						time.Sleep(10 * time.Millisecond) // a caller who is impatient
					default:
						t.Errorf("status %d: %s", got.status, got.body)
						return
					}
				}
			})
		}
	}
	// apart is how long the replicas were not of one mind about Redis.
	var apart time.Duration
	passes := func(state string) {
		t.Helper()
		changed := time.Now()
		for _, h := range houses {
			h.waitForRedis(state)
		}
		apart += time.Since(changed)
		calls, turned := admitted.Load()+60, refused.Load()+60
		eventually(t, "calls to pass and to be refused with Redis "+state, func() bool {
			return admitted.Load() > calls && refused.Load() > turned
		})
	}
	passes(redisstore.StateUp)
	server.Freeze()
	passes(redisstore.StateAway)
	server.Thaw()
	passes(redisstore.StateUp)
	server.Stop()
	passes(redisstore.StateAway)
	server.Run()
	passes(redisstore.StateUp)
	done.Store(true)
	callers.Wait()
	took := time.Since(began).Seconds()
	n := float64(admitted.Load())
	t.Logf("%v calls in %.1f seconds, %d refused", n, took, refused.Load())
	// The burst at first, and once more in Redis and in the shares for each absence. While
	// one replica spends its share and another asks Redis already, both are spent.
	if most := 60*(took+apart.Seconds()) + 60 + 2*(60+60); n > most {
		t.Errorf("%v calls were admitted, %v at most are promised", n, most)
	}
	if sent := houses[0].sim.RequestCount(simulator.ProviderUpstream("nsso")); float64(sent) < n {
		t.Errorf("%d calls were sent", sent)
	}
}
