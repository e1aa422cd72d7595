package directory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// registry answers what the test tells it to, and keeps when it was asked.
type registry struct {
	sync.Mutex
	answer directory.Answer
	err    error
	panics bool
	asked  []time.Time
}

func (r *registry) fetch(context.Context, string) (directory.Answer, error) {
	r.Lock()
	defer r.Unlock()
	r.asked = append(r.asked, time.Now())
	if r.panics {
		panic("what the registry wrote")
	}
	return r.answer, r.err
}

func (r *registry) say(status int, body string, err error) {
	r.Lock()
	defer r.Unlock()
	r.answer, r.err = directory.Answer{Status: status, Body: []byte(body)}, err
}

// registryOf has these providers.
func registryOf(ids ...string) *registry {
	r := new(registry)
	r.say(200, list(ids...), nil)
	return r
}

// refreshed is a directory that has fetched the list.
func refreshed(t *testing.T, o directory.Options) *directory.Directory {
	t.Helper()
	d := directory.New(o)
	testkit.Must(t, d.Refresh(t.Context()))
	return d
}

func list(ids ...string) string {
	entries := make([]string, len(ids))
	for i, id := range ids {
		entries[i] = entry(id, "")
	}
	return "[" + strings.Join(entries, ",") + "]"
}

func ids(d *directory.Directory) string {
	var out []string
	for _, p := range d.List() {
		out = append(out, p.ID)
	}
	return strings.Join(out, " ")
}

// federation is a configuration that allows the hosts of the federation.
func federation() config.Registry {
	u, _ := url.Parse("https://r.socialsecurity.be/v1/messageProviders")
	return config.Registry{URL: u, AllowedHosts: []string{"*.socialsecurity.be"}, Fields: config.OfficialFields(),
		Refresh: 5 * time.Minute}
}

func options(r *registry) directory.Options {
	return directory.Options{Fetch: r.fetch, Registry: federation()}
}

// start runs the directory until it is stopped or the test ends.
func start(t *testing.T, d *directory.Directory) (stop func()) {
	t.Helper()
	stop = testkit.Running(t, d.Run)
	synctest.Wait()
	return stop
}

func TestTheListIsFetchedAtOnceAndThenEveryRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registryOf("a", "b")
		d := directory.New(options(r))
		start(t, d)
		if ids(d) != "a b" {
			t.Fatalf("at once: %q", ids(d))
		}
		kept, _ := d.Lookup("b")
		r.say(200, list("b", "c"), nil)
		time.Sleep(4*time.Minute + 29*time.Second) // a tenth earlier or later
		if ids(d) != "a b" {
			t.Fatalf("before the refresh: %q", ids(d))
		}
		time.Sleep(62 * time.Second)
		if ids(d) != "b c" {
			t.Fatalf("after the refresh: %q", ids(d))
		}
		if _, there := d.Lookup("a"); there {
			t.Error("a provider that disappeared is still known")
		}
		if again, _ := d.Lookup("b"); again == nil || again.Base.String() != kept.Base.String() {
			t.Errorf("b is now %+v", again)
		}
	})
}

func TestReplicasDriftApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := make(map[time.Duration]bool)
		for range 8 {
			r := registryOf("a")
			stop := start(t, directory.New(options(r)))
			time.Sleep(6 * time.Minute)
			stop()
			wait := r.asked[1].Sub(r.asked[0])
			if waits[wait] = true; wait < 270*time.Second || wait > 330*time.Second {
				t.Errorf("the second fetch came after %v", wait)
			}
		}
		if len(waits) == 1 {
			t.Error("all fetch at once")
		}
	})
}

func TestTheLastGoodListIsKept(t *testing.T) {
	type row struct {
		status int
		body   string
		err    error
		says   string
	}
	testkit.Table(t, map[string]row{
		"the registry cannot be reached": {0, "", errors.New("connection refused"), "connection refused"},
		"it fails":                       {500, list("x"), nil, "status 500"},
		"half a list":                    {200, list("x")[:40], nil, "not whole"},
	}, func(t *testing.T, c row) {
		r := registryOf("a", "b")
		d := directory.New(options(r))
		start(t, d)
		began := time.Now()
		r.say(c.status, c.body, c.err)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if ids(d) != "a b" {
			t.Fatalf("the list is now %q", ids(d))
		}
		s := d.Status()
		if !strings.Contains(s.LastError, c.says) || !s.LastSuccess.Equal(began) || s.Age != 24*time.Hour ||
			s.Source != "registry" {
			t.Errorf("%+v", s)
		}
		r.say(200, list("c"), nil)
		time.Sleep(6 * time.Minute)
		if s := d.Status(); ids(d) != "c" || s.LastError != "" || s.Age > 6*time.Minute {
			t.Errorf("after it recovered: %q, %+v", ids(d), s)
		}
	})
}

func TestFailuresAreRetriedEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		o := options(new(registry))
		o.Registry.Refresh = 10 * time.Second
		o.Fetch = func(context.Context, string) (directory.Answer, error) {
			if asked = append(asked, time.Now()); len(asked) == 7 {
				return directory.Answer{Status: 200, Body: []byte(list("a"))}, nil
			}
			return directory.Answer{Status: 500}, nil
		}
		stop := start(t, directory.New(o))
		time.Sleep(time.Minute)
		stop()
		for i, want := range []float64{1, 2, 4, 8, 10, 10, 10, 1} { // after a success a second again
			if got := asked[i+1].Sub(asked[i]).Seconds(); math.Abs(got-want) > want/10 {
				t.Errorf("wait %d is of %v seconds, want %v", i, got, want)
			}
		}
	})
}

func TestAPanicOverTheListFailsThatTryAlone(t *testing.T) {
	var logged strings.Builder
	r, shared := registryOf("a"), new(copyElsewhere)
	o := options(r)
	o.Log, o.Shared = slog.New(slog.NewTextHandler(&logged, nil)), shared
	d := refreshed(t, o)
	r.panics, shared.panics = true, true
	d.Warm(t.Context())
	if err := d.Refresh(t.Context()); err == nil || ids(d) != "a" || d.Status().LastError == "" {
		t.Errorf("%v, providers %q", err, ids(d))
	}
	if text := logged.String(); strings.Count(text, "panicked") != 2 || strings.Contains(text, "wrote") {
		t.Error(text)
	}
}

func TestAnUnchangedListIsNoChange(t *testing.T) {
	r := registryOf("a", "b")
	d := refreshed(t, options(r))
	before := d.List()
	for _, body := range []string{list("a", "b"), " " + list("a", "b") + "\n", "[]"} {
		r.say(200, body, nil)
		d.Refresh(t.Context())
		if !slices.Equal(d.List(), before) {
			t.Errorf("%q brought new pointers", body)
		}
	}
	r.say(200, list("b"), nil)
	d.Refresh(t.Context())
	if _, there := d.Lookup("a"); there || ids(d) != "b" {
		t.Errorf("in force are %q", ids(d))
	}
}

func TestProvidersOfTheConfiguration(t *testing.T) {
	link, err := config.BaseURL("http://LOCALHOST:8080/v3/")
	testkit.Must(t, err)
	o := options(registryOf("a", "lab"))
	o.Registry.Providers = []config.StaticProvider{{ID: "lab", URL: link}}
	d := directory.New(o)
	p, ok := d.Lookup("lab")
	if !ok || p.State(time.Now()) != directory.Active || p.Base.String() != "http://localhost:8080/v3" {
		t.Fatalf("before the registry: %+v", p)
	}
	if s := d.Status(); s.Source != "configuration" || s.Providers != 1 || len(s.Problems) != 0 {
		t.Fatalf("%+v", s)
	}
	d.Refresh(t.Context())
	if again, _ := d.Lookup("lab"); ids(d) != "lab a" || again != p {
		t.Fatalf("after the registry: %q", ids(d))
	}
	if s := d.Status(); s.Source != "registry" || len(s.Problems) != 1 ||
		!strings.Contains(s.Problems[0], "configuration's own") {
		t.Fatalf("%q", s.Problems)
	}
	alone := directory.New(directory.Options{Registry: config.Registry{Providers: o.Registry.Providers}})
	if err := alone.Refresh(t.Context()); err != nil || ids(alone) != "lab" {
		t.Fatalf("without a registry: %v, %q", err, ids(alone))
	}
}

func TestStatusCountsStatesAndNamesRefusals(t *testing.T) {
	r := &registry{}
	r.say(200, `[`+entry("on", "")+`,`+entry("gone", `, "messageProviderDeactivationDate": "2020-01-01"`)+`,
		{"messageProviderId": "far", "messageProviderUrl": "https://docs.example.eu"}]`, nil)
	var log bytes.Buffer
	o := options(r)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	d := refreshed(t, o)
	s := d.Status()
	if s.Providers != 3 || s.States[directory.Active] != 1 || s.States[directory.Deactivated] != 1 ||
		s.States[directory.HostNotAllowed] != 1 {
		t.Errorf("%+v", s.States)
	}
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], `"docs.example.eu"`) {
		t.Errorf("%q", s.Problems)
	}
	if got := fmt.Sprint(d.ActiveIDs()); got != "[on]" {
		t.Errorf("active: %s", got)
	}
	if !strings.Contains(log.String(), "is not called") || !strings.Contains(log.String(), "docs.example.eu") {
		t.Errorf("log: %s", log.String())
	}
	log.Reset()
	if d.Refresh(t.Context()); log.Len() != 0 {
		t.Errorf("an unchanged list is logged again: %s", log.String())
	}
}

// copyElsewhere is a shared copy of the list.
type copyElsewhere struct {
	sync.Mutex
	list    string
	fetched time.Time
	panics  bool
}

func (c *copyElsewhere) set(list string, fetched time.Time) {
	c.Lock()
	defer c.Unlock()
	c.list, c.fetched = list, fetched
}

func (c *copyElsewhere) Load(context.Context) ([]byte, time.Time, error) {
	c.Lock()
	defer c.Unlock()
	if c.panics {
		panic("what Redis wrote")
	}
	return []byte(c.list), c.fetched, nil
}

func (c *copyElsewhere) Store(_ context.Context, list []byte) { c.set(string(list), time.Now()) }

func TestTheSharedCopyHelpsWhileTheRegistryIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, shared := new(registry), new(copyElsewhere)
		r.say(503, "", nil)
		shared.set(list("a", "b"), time.Now().Add(-time.Hour))
		o := options(r)
		o.Shared = shared
		d := directory.New(o)
		start(t, d)
		if s := d.Status(); ids(d) != "a b" || s.Source != "shared" || s.Age != time.Hour || s.LastError == "" {
			t.Fatalf("at the start: %q %+v", ids(d), s)
		}
		step := func(what, want string) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			if s := d.Status(); ids(d) != want || s.Age < 0 {
				t.Fatalf("%s: %q %+v", what, ids(d), s)
			}
		}
		shared.set(list("c"), time.Now().Add(time.Hour))
		step("another replica, whose clock is fast, reached the registry", "c")
		shared.set("[]", time.Now().Add(time.Hour))
		step("nonsense in the shared copy", "c")
		r.say(200, list("d"), nil)
		step("the registry is back", "d")
		if stored, _, _ := shared.Load(t.Context()); string(stored) != list("d") {
			t.Errorf("shared is %s", stored)
		}
		shared.set(list("old"), d.Status().LastSuccess.Add(-time.Second))
		r.say(503, "", nil)
		step("an older list in the shared copy", "d")
	})
}

// A new configuration may allow other hosts: the list is at hand, and is judged anew.
func TestADirectoryThatTakesAnothersPlaceHasItsListAtOnce(t *testing.T) {
	r := registryOf("a")
	before := refreshed(t, options(r))
	r.say(503, "", nil)
	others := options(r)
	others.Registry.AllowedHosts = nil
	same, stricter := directory.New(options(r)), directory.New(others)
	for _, next := range []*directory.Directory{same, stricter} {
		next.Adopt(before)
		if s := next.Status(); ids(next) != "a" || s.Source != "registry" ||
			!s.LastSuccess.Equal(before.Status().LastSuccess) {
			t.Fatalf("%q %+v", ids(next), s)
		}
	}
	if p, _ := same.Lookup("a"); p.Refusal != "" {
		t.Errorf("refused: %s", p.Refusal)
	}
	if p, _ := stricter.Lookup("a"); p.Refusal == "" {
		t.Error("a host that the new configuration does not allow is called")
	}
	fresh := directory.New(options(r))
	if fresh.Adopt(directory.New(options(r))); fresh.Status().Source != "" {
		t.Error("there was no list to take over")
	}
}

func TestWhatHangsHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(copyElsewhere)
		shared.set(list("a"), time.Now().Add(-time.Hour))
		o := options(nil)
		o.Fetch = func(ctx context.Context, _ string) (directory.Answer, error) {
			<-ctx.Done()
			return directory.Answer{}, ctx.Err()
		}
		o.Shared = shared
		d := directory.New(o)
		start(t, d)
		if ids(d) != "a" {
			t.Fatalf("while the registry is silent: %q", ids(d))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := d.Status(); !strings.Contains(s.LastError, context.DeadlineExceeded.Error()) {
			t.Errorf("it is waited for: %+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		o := options(registryOf("a"))
		o.Shared = frozen{}
		d := directory.New(o)
		start(t, d)
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		if ids(d) != "a" {
			t.Errorf("while the shared copy is frozen: %q", ids(d))
		}
	})
}

// frozen is a shared copy that answers nothing.
type frozen struct{}

func (frozen) Load(ctx context.Context) ([]byte, time.Time, error) {
	<-ctx.Done()
	return nil, time.Time{}, ctx.Err()
}

func (frozen) Store(ctx context.Context, _ []byte) { <-ctx.Done() }

// paged is a registry with several pages, by URL.
type paged struct {
	pages map[string]string
	asked []string
}

func (p *paged) options() directory.Options {
	return directory.Options{Registry: federation(), Fetch: func(_ context.Context, url string) (directory.Answer, error) {
		p.asked = append(p.asked, url)
		body, ok := p.pages[url]
		if !ok {
			return directory.Answer{Status: 404}, nil
		}
		return directory.Answer{Status: 200, Body: []byte(body)}, nil
	}}
}

func TestTheListIsFoundBelowTheBaseOfItsAPI(t *testing.T) {
	const base = "https://r.socialsecurity.be/v1"
	for _, at := range []string{base, base + "/messageRegistries", base + "/messageProviders"} {
		p := &paged{pages: map[string]string{at: list("a")}}
		o := p.options()
		o.Registry.URL, _ = url.Parse(base)
		d := directory.New(o)
		if err := d.Refresh(t.Context()); err != nil || ids(d) != "a" || p.asked[len(p.asked)-1] != at {
			t.Errorf("%v, %q, asked %q", err, ids(d), p.asked)
		}
	}
}

func TestEveryPageOfTheListIsRead(t *testing.T) {
	const first = "https://r.socialsecurity.be/v1/messageProviders"
	entries := func(id string) string { return `{"items": [` + entry(id, "") + `]` }
	for name, next := range map[string]func(string) string{
		"plain": func(link string) string { return `, "next": "` + link + `"}` },
		"HAL":   func(link string) string { return `, "_links": {"next": {"href": "` + link + `"}}}` },
	} {
		t.Run(name, func(t *testing.T) {
			p := &paged{pages: map[string]string{
				first:             entries("a") + next("?page=2"),
				first + "?page=2": entries("b") + next(`https:\/\/R.socialsecurity.be/v1/messageProviders?page=3`),
				"https://R.socialsecurity.be/v1/messageProviders?page=3": entries("c") + "}",
			}}
			kept := new(copyElsewhere)
			o := p.options()
			o.Shared = kept
			d := directory.New(o)
			if err := d.Refresh(t.Context()); err != nil || ids(d) != "a b c" {
				t.Fatalf("%v, %q, asked %q", err, ids(d), p.asked)
			}
			// What other replicas get is the whole list.
			down := new(registry)
			down.say(0, "", errors.New("down"))
			o = options(down)
			o.Shared = kept
			other := directory.New(o)
			other.Warm(t.Context())
			if ids(other) != "a b c" {
				t.Errorf("another replica has %q", ids(other))
			}
		})
	}
	for name, c := range map[string]struct{ link, says string }{
		"another host":          {"https://evil.example/v1/messageProviders?page=2", "not its own"},
		"another scheme":        {"http://r.socialsecurity.be/v1/messageProviders?page=2", "not its own"},
		"another port":          {"https://r.socialsecurity.be:8443/v1/messageProviders?page=2", "not its own"},
		"another path":          {"/v1/messageProvidersX?page=2", "not its own"},
		"a dot segment":         {"/v1/messageProviders/%2e%2e/x", "not its own"},
		"a user":                {"https://x@r.socialsecurity.be/v1/messageProviders?page=2", "not its own"},
		"itself":                {first, "does not end"},
		"a page that is absent": {"?page=9", "status 404"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &paged{pages: map[string]string{first: entries("a") + `, "next": "` + c.link + `"}`}}
			d := directory.New(p.options())
			if err := d.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) || ids(d) != "" {
				t.Errorf("%v, %q", err, ids(d))
			}
			for _, url := range p.asked {
				if !strings.HasPrefix(url, first) {
					t.Errorf("asked %s", url)
				}
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		n := 0
		o := (&paged{}).options()
		o.Fetch = func(context.Context, string) (directory.Answer, error) {
			n++
			return directory.Answer{Status: 200, Body: fmt.Appendf(nil, `{"items": [], "next": "?page=%d"}`, n+1)}, nil
		}
		if err := directory.New(o).Refresh(t.Context()); err == nil || n != 100 {
			t.Errorf("%v after %d pages", err, n)
		}
	})
}
