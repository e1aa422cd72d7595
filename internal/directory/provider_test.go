package directory_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/ebox"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func window(start, end string) ebox.Window { return ebox.Window{Start: at(start), End: at(end)} }

func TestStateFollowsTheClock(t *testing.T) {
	list, problems, err := read(t, federation(), `[{"messageProviderId": "p",
		"messageProviderUrl": "https://a.socialsecurity.be/v3",
		"messageProviderActivationDate": "2026-03-01", "messageProviderDeactivationDate": "2026-10-25",
		"messageProviderPlannedMaintenance": [
			{"startDate": "2026-07-01T10:00:00Z", "endDate": "2026-07-01T11:00:00Z"},
			{"startDate": "2026-06-01T22:00:00Z", "endDate": "2026-06-02T04:00:00Z"},
			{"startDate": "2026-06-02T01:00:00Z", "endDate": "2026-06-02T02:00:00Z"},
			{"startDate": "2026-06-01T20:00:00+02:00", "endDate": "2026-06-02T00:00:00+02:00"}]}]`)
	if err != nil || len(problems) != 0 {
		t.Fatal(err, problems)
	}
	p := list[0]
	for name, c := range map[string]struct {
		now   string
		state directory.State
		end   string
	}{
		"the evening before activation":        {"2026-02-28T22:59:59Z", directory.NotYetActive, ""},
		"midnight in Brussels, winter":         {"2026-02-28T23:00:00Z", directory.Active, ""},
		"a second before maintenance":          {"2026-06-01T17:59:59Z", directory.Active, ""},
		"the first second of maintenance":      {"2026-06-01T18:00:00Z", directory.Maintenance, "2026-06-02T04:00:00Z"},
		"where two windows meet":               {"2026-06-01T22:00:00Z", directory.Maintenance, "2026-06-02T04:00:00Z"},
		"the end of maintenance":               {"2026-06-02T04:00:00Z", directory.Active, ""},
		"another window":                       {"2026-07-01T10:30:00Z", directory.Maintenance, "2026-07-01T11:00:00Z"},
		"a window within another":              {"2026-06-02T02:00:00Z", directory.Maintenance, "2026-06-02T04:00:00Z"},
		"the last second of a day of 25 hours": {"2026-10-25T22:59:59Z", directory.Active, ""},
		"the midnight that ends it":            {"2026-10-25T23:00:00Z", directory.Deactivated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			now := at(c.now)
			if got := p.State(now); got != c.state {
				t.Errorf("%s, want %s", got, c.state)
			}
			end, in := p.MaintenanceEnd(now)
			if in != (c.end != "") || in && !end.Equal(at(c.end)) {
				t.Errorf("maintenance until %v (%v), want %s", end, in, c.end)
			}
		})
	}
}

func TestAProviderThatCannotBeCalledSaysWhy(t *testing.T) {
	now := at("2026-06-01T12:00:00Z")
	base := &url.URL{Scheme: "https", Host: "secret-host.example", Path: "/v3"}
	type provider = directory.Provider
	for name, c := range map[string]struct {
		p          provider
		status     int
		retryAfter string
		says       string
	}{
		"active":         {provider{}, 0, "", ""},
		"not yet active": {provider{Activation: at("2026-12-31T23:00:00Z")}, 404, "", "2027-01-01"},
		"deactivated":    {provider{Deactivation: now}, 404, "", "deactivated"},
		"maintenance": {provider{Maintenance: []ebox.Window{window("2026-06-01T11:00:00Z", "2026-06-01T13:00:00Z")}},
			503, "Mon, 01 Jun 2026 13:00:00 GMT", "maintenance"},
		"refused host":         {provider{Refusal: "its host secret-host.example is not allowed"}, 503, "", "allow-list"},
		"refused, and gone":    {provider{Refusal: "no", Deactivation: now}, 404, "", "deactivated"},
		"refused, and to come": {provider{Refusal: "no", Activation: now.Add(time.Hour)}, 503, "", "allow-list"},
	} {
		t.Run(name, func(t *testing.T) {
			c.p.ID, c.p.Base = "p1", base
			p := c.p.Problem(now)
			if c.status == 0 {
				if p != nil {
					t.Fatalf("%v", p)
				}
				return
			}
			body := string(p.Append(nil, "1"))
			if p.Status != c.status || p.Header.Get("Retry-After") != c.retryAfter || !strings.Contains(body, c.says) ||
				!strings.Contains(body, "p1") {
				t.Errorf("%d, Retry-After %q: %s", p.Status, p.Header.Get("Retry-After"), body)
			}
			if strings.Contains(body, "secret-host") {
				t.Errorf("the host is named: %s", body)
			}
			if (p.Status == http.StatusNotFound) != (len(p.Issues) == 1) {
				t.Errorf("%d issues", len(p.Issues))
			}
		})
	}
}

func TestAnUnknownProviderIsToldWhichAreKnown(t *testing.T) {
	p := directory.Unknown("nssso", []string{"nsso", "regional"})
	if i := p.Issues[0]; p.Status != 404 || i.In != "path" || i.Name != "providerId" || i.Value != "nssso" ||
		i.Detail != "These can be called now: nsso, regional." {
		t.Fatalf("%d %+v", p.Status, i)
	}
	if i := directory.Unknown("x", nil).Issues[0]; !strings.Contains(i.Detail, "No Document Provider") {
		t.Fatalf("%+v", i)
	}
	if i := directory.Unknown("x", strings.Fields(strings.Repeat("p ", 1000))).Issues[0]; len(i.Detail) > 200 {
		t.Fatalf("a detail of %d bytes", len(i.Detail))
	}
}
