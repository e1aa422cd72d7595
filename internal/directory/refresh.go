package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/printable"
)

const (
	firstRetry   = time.Second
	fetchLimit   = time.Minute            // for a Fetch that would hang
	sharedLimit  = 250 * time.Millisecond // the shared copy is a convenience
	jitterOfTime = 0.1
)

// Run fetches the list at once and then every Refresh, give or take a tenth, so
// that replicas drift apart, until ctx is done. After a failure it tries again
// after a second, then two, four and so on up to Refresh; the last good list stays
// in force meanwhile. Before the first answer, and while the registry fails, a
// newer list from Shared is taken.
func (d *Directory) Run(ctx context.Context) {
	if d.o.Fetch == nil {
		<-ctx.Done()
		return
	}
	d.Warm(ctx)
	retry := firstRetry
	for {
		wait := d.o.Registry.Refresh
		if err := d.Refresh(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			wait, retry = min(retry, d.o.Registry.Refresh), min(2*retry, d.o.Registry.Refresh)
			said := "the list of Document Providers could not be refreshed; the one there was stays in force"
			if len(d.List()) == 0 {
				said = "there is no list of Document Providers yet: it could not be fetched"
			}
			d.o.Log.Warn(said, "error", err, "retryIn", wait.String(), "providers", len(d.List()))
			d.Warm(ctx)
		} else {
			retry = firstRetry
		}
		wait += time.Duration(float64(wait) * jitterOfTime * (2*rand.Float64() - 1))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Refresh fetches the list once, now. The error says what was wrong with the
// answer; the last good list then stays in force. Without a registry it does
// nothing.
func (d *Directory) Refresh(ctx context.Context) error {
	if d.o.Fetch == nil {
		return nil
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	began := d.o.Now()
	body, err := d.renew(ctx, began)
	if err != nil {
		err = fmt.Errorf("fetching the list of Document Providers: %w", err)
		d.lastTry.Store(&try{began, err.Error()})
		return err
	}
	d.lastTry.Store(&try{at: began})
	if d.o.Shared != nil {
		ctx, cancel := context.WithTimeout(ctx, sharedLimit)
		defer cancel()
		d.o.Shared.Store(ctx, body)
	}
	return nil
}

// renew fetches the list and puts it in force.
func (d *Directory) renew(ctx context.Context, began time.Time) (body []byte, err error) {
	defer d.contain(&err)
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	if body, err = d.fetch(ctx); err != nil {
		return nil, err
	}
	if err = d.use(body, fromRegistry, began); err != nil {
		return nil, fmt.Errorf("the registry gave no usable answer: %w", err)
	}
	return body, nil
}

// fetch gets the list, all its pages as one.
func (d *Directory) fetch(ctx context.Context) (body []byte, err error) {
	for _, at := range lists(d.o.Registry.URL.String()) {
		if body, err = d.page(ctx, at); err == nil {
			return d.further(ctx, at, body)
		} else if err != errNotFound {
			break
		}
	}
	return nil, err
}

var errNotFound = errors.New("the registry answered with status 404")

// page gets one page of the list.
func (d *Directory) page(ctx context.Context, at string) ([]byte, error) {
	answer, err := d.o.Fetch(ctx, at)
	switch {
	case err != nil:
		return nil, err
	case answer.Status == http.StatusNotFound:
		return nil, errNotFound
	case answer.Status != http.StatusOK:
		return nil, fmt.Errorf("the registry answered with status %d", answer.Status)
	}
	return answer.Body, nil
}

// contain makes a panic over what the registry or Redis answered a failure of that one try: the
// list is read on a goroutine of its own, where it would end the gateway.
func (d *Directory) contain(err *error) {
	if fault := recover(); fault != nil {
		d.o.Log.Error("reading the list of Document Providers panicked", "error", printable.Panic(fault))
		*err = errors.New("a fault of the gateway, which its log shows")
	}
}

// lists are the URLs where the list can be: the one of the configuration and, if
// that is the API's base rather than its list, what the two registries call theirs.
func lists(target string) []string {
	const newer, older = "/messageRegistries", "/messageProviders"
	if strings.HasSuffix(target, newer) || strings.HasSuffix(target, older) {
		return []string{target}
	}
	base := strings.TrimRight(target, "/")
	return []string{target, base + newer, base + older}
}

// mostPages bounds the pages of a list.
const mostPages = 100

// further follows the links of the first page, at a URL, to the next pages and gives the entries of
// all as one array; a list of one page stays as it came. A list that does not end, or whose next
// page leads elsewhere, is an error: a part of it would look like the whole.
func (d *Directory) further(ctx context.Context, first string, body []byte) ([]byte, error) {
	next := nextPage(body)
	if next == "" {
		return body, nil
	}
	all, _, err := entriesOf(body)
	if err != nil {
		return nil, fmt.Errorf("the registry gave no usable answer: %w", err)
	}
	size := len(body)
	seen := map[string]bool{first: true}
	for at := first; next != ""; {
		if at, err = follow(at, first, next); err != nil {
			return nil, err
		}
		if seen[at] || len(seen) == mostPages {
			return nil, fmt.Errorf("the registry's list does not end: page %d leads to one that was read, or is the last of "+
				"%d that are", len(seen), mostPages)
		}
		seen[at] = true
		if body, err = d.page(ctx, at); err != nil {
			return nil, fmt.Errorf("fetching page %d of the registry's list: %w", len(seen), err)
		}
		if size += len(body); size > MaxBody {
			return nil, fmt.Errorf("the registry's list is longer than %d MB", MaxBody>>20)
		}
		entries, _, err := entriesOf(body)
		if err != nil {
			return nil, fmt.Errorf("page %d of the registry's list cannot be used: %w", len(seen), err)
		}
		all, next = append(all, entries...), nextPage(body)
	}
	return json.Marshal(all)
}

// nextPage gives the link to the next page, in the form of the Belgif guide or of HAL;
// empty if there is none.
func nextPage(body []byte) string {
	var page struct {
		Next  string `json:"next"`
		Links struct {
			Next struct {
				Href string `json:"href"`
			} `json:"next"`
		} `json:"_links"`
	}
	_ = json.Unmarshal(body, &page) // what is no object, or has other types there, has no next page
	if page.Next != "" {
		return page.Next
	}
	return page.Links.Next.Href
}

// follow resolves a link of the page at a URL. It must lead to the list's own place or
// below, on the same host: the registry's token goes with it.
func follow(at, list, link string) (string, error) {
	elsewhere := errors.New("the registry's list goes on at a URL that is not its own, where its token does not go: " +
		"set registry.url to the URL of the list as the registry writes it")
	home, err := url.Parse(list)
	page, errPage := url.Parse(at)
	if err != nil || errPage != nil {
		return "", elsewhere
	}
	u, err := page.Parse(link)
	if err != nil || u.Scheme != home.Scheme || !strings.EqualFold(u.Host, home.Host) || u.User != nil {
		return "", elsewhere
	}
	own, theirs := strings.TrimRight(home.EscapedPath(), "/"), strings.TrimRight(u.EscapedPath(), "/")
	if theirs != own && !strings.HasPrefix(theirs, own+"/") || strings.ContainsAny(theirs, `%\`) {
		return "", elsewhere
	}
	u.Fragment = ""
	return u.String(), nil
}

// Warm uses the shared copy, if there is one that is newer than the list in force, without
// asking the registry. The copy is read like the registry's answer: who can write there can
// name no host that the operator has not allowed.
func (d *Directory) Warm(ctx context.Context) {
	if d.o.Shared == nil {
		return
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sharedLimit)
	defer cancel()
	var err error
	defer d.contain(&err)
	body, fetched, err := d.o.Shared.Load(ctx)
	if err != nil {
		return
	}
	if now := d.o.Now(); fetched.After(now) { // another replica's clock
		fetched = now
	}
	if fetched.After(d.inForce.Load().fetched) {
		d.useCopy(body, fromShared, fetched)
	}
}

// Adopt takes over the list of the Directory that this one replaces, so that its providers
// are known at once. It is judged anew: other hosts may be allowed.
func (d *Directory) Adopt(from *Directory) {
	if last := from.inForce.Load(); last.body != nil {
		d.useCopy(last.body, last.source, last.fetched)
	}
}

// useCopy puts a list in force that was fetched elsewhere, if it can be used.
func (d *Directory) useCopy(body []byte, source string, fetched time.Time) {
	if err := d.use(body, source, fetched); err != nil {
		d.o.Log.Warn("a copy of the list of Document Providers could not be used", "error", err)
	}
}

// use reads a list and puts it in force. The error says why it cannot be used.
func (d *Directory) use(body []byte, source string, fetched time.Time) error {
	registry, problems, err := parse(body, &d.o.Registry)
	if err != nil {
		return err
	}
	old := d.inForce.Load()
	list := append(make([]*Provider, 0, len(d.own)+len(registry)), d.own...)
	for _, p := range registry {
		if slices.ContainsFunc(d.own, func(own *Provider) bool { return own.ID == p.ID }) {
			problems = append(problems, "provider "+p.ID+": the configuration's own entry is used instead of the registry's")
			continue
		}
		list = append(list, p)
	}
	next := &snapshot{body, source, fetched, problems, old.list, old.byID}
	if !reflect.DeepEqual(old.list, list) { // else the pointers that others hold stay those in force
		next.list, next.byID = list, byID(list)
		d.announce(old, next)
	}
	d.inForce.Store(next)
	return nil
}

// announce logs what is new.
func (d *Directory) announce(old, current *snapshot) {
	var added, gone []string
	for _, p := range current.list {
		before, known := old.byID[p.ID]
		if !known {
			added = append(added, p.ID)
		}
		if p.Refusal != "" && (!known || before.Refusal != p.Refusal) {
			d.o.Log.Warn("a Document Provider is not called", "provider", p.ID, "reason", p.Refusal)
		}
	}
	for _, p := range old.list {
		if _, still := current.byID[p.ID]; !still {
			gone = append(gone, p.ID)
		}
	}
	d.o.Log.Info("the list of Document Providers changed", "source", current.source, "providers", len(current.list),
		"added", added, "gone", gone)
	for _, text := range current.problems {
		d.o.Log.Warn("part of the list of Document Providers cannot be used", "reason", text)
	}
}
