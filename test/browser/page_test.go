package browser_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// tab is the page in a real browser, and everything that the browser said of it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string
	requests []string
}

// browse opens the admin listener's page in Chromium.
func (g *instance) browse(fragment string) *tab {
	g.t.Helper()
	p := g.tab()
	p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(g.Admin+"/"+fragment))
	p.wait("the first picture", `document.querySelectorAll('#figures .figure').length === 4 &&
		document.querySelector('#providers table') !== null`)
	return p
}

// tab starts Chromium with one empty tab.
func (g *instance) tab() *tab {
	g.t.Helper()
	program := needs.Program(g.t, "chromium", "chromium", "chromium-browser", "google-chrome")
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(g.t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true))
	allocator, endBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(allocator)
	limited, end := context.WithTimeout(ctx, 5*time.Minute)
	g.t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			g.t.Logf("closing the browser: %v", err)
		}
		end()
		closeTab()
		endBrowser()
	})
	p := &tab{t: g.t, ctx: limited}
	if err := chromedp.Listen(p.ctx, p.record); err != nil {
		g.t.Fatalf("starting %s: %v", program, err)
	}
	return p
}

func (p *tab) record(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.messages = append(p.messages, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		p.messages = append(p.messages, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		p.messages = append(p.messages, e.Entry.Text+" "+e.Entry.URL)
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

// quiet checks that the browser had nothing to complain of and asked nobody else.
func (p *tab) quiet(g *instance) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		p.t.Errorf("the browser says: %s", m)
	}
	if len(p.requests) < 5 {
		p.t.Errorf("only %q was asked for", p.requests)
	}
	for _, r := range p.requests {
		if u, err := url.Parse(r); err != nil || "http://"+u.Host != g.Admin {
			p.t.Errorf("the page asked %s", r)
		}
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	testkit.Must(p.t, chromedp.Do(p.ctx, steps...))
}

// tell evaluates an expression in the page.
func tell[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *tab) wait(what, condition string) {
	p.t.Helper()
	deadline := time.Now().Add(testkit.Patience)
	for !tell[bool](p, condition) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s; the page shows:\n%s", what, tell[string](p, `document.body.innerText`))
		}
		p.do(chromedp.Sleep(50 * time.Millisecond))
	}
}

// press presses what a selector finds. A mouse would be sent to where it was a moment
// ago, and on a page that is live that may be somewhere else by now.
func (p *tab) press(selector string) {
	p.t.Helper()
	tell[bool](p, "document.querySelector('"+selector+"').click() ?? true")
}

// theme has the reader prefer light or dark.
func (p *tab) theme(name string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {
			Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	testkit.Must(p.t, err)
}

// keep writes what the page looks like to a folder, if EBOX_SCREENSHOTS names one.
func (p *tab) keep(name string) {
	p.t.Helper()
	dir := os.Getenv("EBOX_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// A provider breaks, and whoever looks sees it within seconds, finds the request of
// which a caller complains, and is told when the gateway itself is gone.
func TestSomebodyAtNightFindsTheBrokenProvider(t *testing.T) {
	t.Parallel()
	// However long the browser takes to show it, the circuit is still open. It opens while the first failure is
	// among those of its kind that are remembered.
	g := start(t, "name: ebox-providers\n", "name: ebox-providers\n    breaker: {open: 1h, minRequests: 10}\n")
	g.get(box+"/messages").want(t, 200)
	p := g.browse("")
	p.wait("the state", `document.querySelector('#state-heading').textContent === 'Up'`)

	lab.Fault(t, g.sim, simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultReset})
	broke := time.Now()
	id := g.get(box+"/messages/"+simulator.FirstMessage).want(t, 502).header.Get("X-Request-Id")
	for range 30 { // until its circuit opens
		g.get(box + "/messages")
		g.get("/enterprises/0212148896" + nsso + "/ebox/messages")
	}
	p.wait("the banner", `/calls fail/.test(document.querySelector('#state-heading').textContent) &&
		/provider nsso/.test(document.querySelector('.attention').innerText)`)
	p.wait("the circuit", `/open[^]*next probe/.test(document.querySelector('#providers tbody tr').innerText)`)
	t.Logf("the page showed it after %s", time.Since(broke).Round(time.Millisecond))
	if title := tell[string](p, `document.title`); !strings.Contains(title, "calls fail") {
		t.Errorf("the tab is called %q", title)
	}
	if said := tell[string](p, `document.querySelector('[aria-live=polite]').textContent`); !strings.Contains(said,
		"provider nsso: failing") {
		t.Errorf("a screen reader is told %q", said)
	}

	// The caller has a request id.
	p.do(chromedp.SendKeys("#query", strings.ToUpper(id[:13])))
	p.wait("the one that was searched for",
		`document.querySelectorAll('.problem').length === 1 && document.querySelector('.problem').id === '`+id+`'`)
	p.press(".problem summary")
	p.wait("its facts", `/BelGov-Trace-Id sent/.test(document.querySelector('.problem').innerText)`)
	p.keep("broken")
	p.quiet(g)

	// A link to it does the same, and one to a request that nobody remembers says so.
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(g.Admin+"/#"+id))
	p.wait("the one that the link names", `document.activeElement.parentElement?.id === '`+id+
		`' && document.activeElement.parentElement.open`)
	p.do(chromedp.Evaluate[chromedp.Void](`location.hash = '00000000-0000-4000-8000-000000000000'`))
	p.wait("the advice", `/not among the problems[^]*access log/.test(document.querySelector('#problems').innerText)`)

	lone := g.get("/nowhere").want(t, 404).header.Get("X-Request-Id")
	p.do(chromedp.Evaluate[chromedp.Void](`location.hash = '` + lone + `'`))
	p.wait("the only one of its kind", `document.querySelector('.problem.target')?.id === '`+lone+`'`)

	g.Cut()
	if err := g.Stop(); err != nil {
		t.Logf("stopping: %v", err)
	}
	p.wait("the lost connection", `document.querySelector('#state-heading').textContent === 'Connection lost' &&
		/\d+ s old/.test(document.querySelector('#picture').innerText) &&
		/does not answer/.test(document.querySelector('#state').innerText)`)
	p.keep("lost")
}

// Whoever can send a request, or describe a provider, chooses texts that the page shows.
func TestWhatThePageShowsIsNeverMarkup(t *testing.T) {
	t.Parallel()
	const evil = `<img src=x onerror=window.pwned=1>`
	g := start(t, "registry:\n", "registry:\n  refresh: 200ms\n")
	g.get("/enterprises/0474028805"+nsso+"/ebox", "X-Actor: "+evil).want(t, 403)
	g.get("/<svg%20onload=window.pwned=3>79072300048?secret="+url.QueryEscape(evil), "X-Actor: "+evil).want(t, 404)
	list, err := json.Marshal([]map[string]any{{
		"messageProviderId": evil, "messageProviderName": map[string]string{"en": `"><script>window.pwned=2</script>`},
		"messageProviderUrl":              "https://evil.example/",
		"messageProviderTechnicalContact": evil, "apiSupportedVersion": evil,
	}})
	testkit.Must(t, err)
	lab.Fault(t, g.sim, simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: simulator.FaultStatus, Status: 200,
		ContentType: "application/json", Body: string(list)})
	testkit.Eventually(t, "the registry's list", func() bool {
		var status struct {
			Directory struct{ Providers []json.RawMessage } `json:"directory"`
		}
		testkit.Must(t, json.Unmarshal([]byte(g.send("GET", g.Admin+"/status").want(t, 200).body), &status))
		return len(status.Directory.Providers) == 1
	})
	g.operate("/maintenance?provider="+url.QueryEscape(evil)+"&for=1h&reason="+url.QueryEscape("<b onclick=x>"+
		evil)).want(t, 200)
	g.get("/enterprises/"+mandated+"/ebox/providers/"+url.PathEscape(evil)+"/ebox/messages").want(t, 503)
	p := g.browse("")
	p.wait("the problems", `document.querySelectorAll('.group').length > 0`)
	p.do(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll('.group')) d.open = true`))
	p.wait("each of them", `document.querySelectorAll('.members .problem').length === 3`)
	p.do(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll('.members details')) d.open = true`))
	p.wait("their facts", `document.querySelectorAll('.problem .facts').length === 3`)
	text := tell[string](p, `document.body.innerText`)
	for _, shown := range []string{evil, `"><script>window.pwned=2</script>`, "<b onclick=x>", "***********"} {
		if !strings.Contains(text, shown) {
			t.Errorf("%s is not shown as it is", shown)
		}
	}
	for _, hidden := range []string{"secret", "79072300048"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s is shown", hidden)
		}
	}
	if tell[bool](p,
		`window.pwned !== undefined || document.querySelectorAll('main img, main script, main b').length > 0`) {
		t.Error("a text became markup")
	}
	p.do(chromedp.EmulateViewport(390, 844))
	p.fits()
	p.keep("hostile")
	p.quiet(g)
}

// fits checks that nothing stands out at the side.
func (p *tab) fits() {
	p.t.Helper()
	wide := tell[[]string](p,
		`document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]
		.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.unseen, thead'))
		.map((e) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40))`)
	for _, w := range wide {
		p.t.Errorf("wider than the window: %s", w)
	}
}

//go:embed testdata/contrast.js
var contrast string

// The page can be read on a phone and in the dark, and used without a mouse.
func TestThePageCanBeReadAndUsedByAnybody(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.get(box+"/messages").want(t, 200)
	g.get("/enterprises/0474028805"+nsso+"/ebox").want(t, 403)
	lab.Fault(t, g.sim, simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultReset})
	for range 30 {
		g.get(box + "/messages")
		g.get("/enterprises/0212148896" + nsso + "/ebox/messages")
	}
	g.get("/nothing").want(t, 404)
	g.operate("/maintenance?provider=regional&for=2h&reason=new+disks").want(t, 200)
	if err := g.Replace(g.read("0206.731.645", "0400.000.185"), ""); err == nil {
		t.Fatal("a configuration that drops a third of the enterprises was taken")
	}
	p := g.browse("")
	p.wait("the problems",
		`document.querySelectorAll('.problem').length > 3 && document.querySelector('#refused table') !== null`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.group').open = true`))
	p.wait("its members", `document.querySelector('.members .problem') !== null`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.members details').open = true`))
	p.wait("its facts", `document.querySelector('.problem .facts') !== null`)
	for _, window := range []struct {
		name          string
		width, height int64
	}{
		{"small", 320, 640}, {"phone", 390, 844}, {"tablet", 820, 1180}, {"half", 961, 900}, {"notebook", 1024, 768},
		{"desk", 1440, 900},
	} {
		p.do(chromedp.EmulateViewport(window.width, window.height))
		for _, theme := range []string{"light", "dark"} {
			p.theme(theme)
			p.do(chromedp.Evaluate[chromedp.Void](`document.fonts.ready.then(() => undefined)`, chromedp.EvalAwaitPromise))
			p.fits()
			faint := tell[struct {
				Checked int
				Faint   []string
			}](p, contrast)
			if faint.Checked < 100 {
				t.Errorf("only %d texts were looked at", faint.Checked)
			}
			for _, f := range faint.Faint {
				t.Errorf("%s, %s: %s", window.name, theme, f)
			}
			p.keep(window.name + "-" + theme)
		}
	}

	// The documentation that the page links to is a page of its own.
	p.do(chromedp.Navigate(g.Admin+"/docs/operations.md"), chromedp.EmulateViewport(320, 640))
	p.wait("the narrow window", `innerWidth === 320`)
	p.fits()
	if lines := tell[int](p, `new Set([...document.querySelectorAll('nav a')].map((a) => a.offsetTop)).size`); lines != 1 {
		t.Errorf("the way back to the page takes %d lines", lines)
	}
	p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(g.Admin+"/"))
	p.wait("the problems again", `document.querySelectorAll('.problem').length > 3`)

	// Tab comes by everything that can be used, in the order in which it stands, and
	// each shows that it has the focus.
	p.press("#pause")
	p.wait("the pause", `document.querySelector('#pause').getAttribute('aria-pressed') === 'true' &&
		/Paused/.test(document.querySelector('#picture').innerText)`)
	const focused = `document.activeElement.outerHTML.slice(0, 120)`
	const usable = `[...document.querySelectorAll('a[href], button, input, select, summary')]
		.filter((e) => e.checkVisibility())`
	total := tell[int](p, usable+`.length`)
	tell[bool](p, `document.activeElement.blur(), window.getSelection().removeAllRanges(), scrollTo(0, 0),
		document.body.setAttribute('tabindex', '-1'), document.body.focus(),
		document.body.removeAttribute('tabindex'), true`)
	for i := range total {
		p.do(chromedp.KeyEvent(kb.Tab))
		if at := tell[int](p, usable+`.indexOf(document.activeElement)`); at != i {
			t.Fatalf("Tab %d leads to element %d of %d: %s", i+1, at, total, tell[string](p, focused))
		}
		if !tell[bool](p, `(() => {
			const s = getComputedStyle(document.activeElement);
			return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2;
		})()`) {
			t.Errorf("nothing shows the focus on %s", tell[string](p, focused))
		}
	}
	// What a screen reader goes by.
	for what, expression := range map[string]string{
		"one main, header, footer and a named navigation": `
			document.querySelectorAll('main, body > header, footer, nav[aria-label]').length === 4`,
		"one first heading": `document.querySelectorAll('h1').length === 1`,
		"headings that skip no level": `[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => +e.tagName[1])
			.every((n, i, all) => i === 0 || n <= all[i - 1] + 1)`,
		"a name for every section": `[...document.querySelectorAll('section')].every((e) =>
			e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby')))`,
		"a label for every field": `[...document.querySelectorAll('input, select')].every((e) => e.labels.length === 1)`,
		"a name for every chart": `[...document.querySelectorAll('svg')].every((e) =>
			e.getAttribute('aria-hidden') === 'true' || e.getAttribute('aria-label'))`,
		"a word beside every shape": `[...document.querySelectorAll('.badge')].every((e) => e.innerText.trim() !== '')`,
		"no id twice": `new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size ===
			document.querySelectorAll('[id]').length`,
	} {
		if !tell[bool](p, expression) {
			t.Errorf("the page has not %s", what)
		}
	}
	p.quiet(g)
}

// Somebody who registered the client in Chaman just now need not wait for the next try.
func TestTryNowAsksForARefusedTokenWithTheAdminToken(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.sim.UnregisterClient(lab.Client(t).ID)
	const mandates = "/enterprises/" + mandated + "/grant/citizen/mandates"
	g.get(mandates).want(t, 502)
	p := g.browse("")
	p.wait("the button", `document.querySelector('form.retry button') !== null`)
	try := func(token, answer string) {
		p.do(chromedp.SendKeys("#token", token))
		p.press("form.retry button")
		p.wait(answer, `document.querySelector('form.retry [role=status]').textContent.includes('`+answer+`')`)
		if left := tell[string](p, `document.querySelector('#token').value`); left != "" {
			t.Errorf("the token stays in its field: %q", left)
		}
	}
	try("another-token", "admin.tokenFile")
	try(adminToken, "The gateway is asking.")
	p.do(chromedp.SendKeys("#token", adminToken))
	testkit.Must(t, g.sim.RegisterClient(lab.Client(t)))
	// The form goes as soon as there is a token.
	tell[bool](p, `document.querySelector('form.retry button')?.click() ?? true`)
	testkit.Eventually(t, "the token", func() bool { return g.get(mandates).status == 200 })
	p.wait("the page without the button", `document.querySelector('form.retry') === null`)
}
