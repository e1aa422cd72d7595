package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// items is the member that holds the list if the answer is an object.
const items = "items"

const (
	// mostEntries bounds the providers of a list, and with them the stacks and the states of the gateway.
	mostEntries = 1000
	// mostProblems bounds what is kept and logged of a list's mistakes.
	mostProblems = 100
)

type object = map[string]json.RawMessage

// parse reads the list of a registry in either shape. Entries that cannot be used are left out and
// named in problems. An error means that nothing of it is to be used.
func parse(body []byte, r *config.Registry) (list []*Provider, problems []string, err error) {
	entries, guesses, err := entriesOf(body)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(entries) == 0:
		return nil, nil, errors.New("its list is empty")
	case len(entries) > mostEntries:
		return nil, nil, fmt.Errorf("its list has %d entries, and one of more than %d is not used: look whether the URL is "+
			"that of the Provider Registry", len(entries), mostEntries)
	}
	seen := make(map[string]bool, len(entries))
	for i, raw := range entries {
		provider, remarks, err := parseProvider(raw, r)
		name := fmt.Sprintf("entry %d of the registry's list", i+1)
		if provider != nil {
			name = fmt.Sprintf("provider %s", provider.ID)
		}
		for _, remark := range remarks {
			if !strings.HasPrefix(remark, guess) {
				problems = append(problems, name+": "+remark)
			} else if !slices.Contains(guesses, remark) { // each is told once
				guesses = append(guesses, remark)
			}
		}
		if err == nil && seen[provider.ID] {
			// Which of the two is right cannot be known here. The first stays, so
			// that adding an entry cannot take over somebody else's id.
			err = errors.New("its id stands in the list before")
		}
		if err != nil {
			problems = append(problems, name+" left out: "+err.Error())
			continue
		}
		seen[provider.ID] = true
		list = append(list, provider)
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("none of the %d entries of its list can be used; %s; its first entry has %s: name the "+
			"right ones in registry.fields",
			len(entries), problems[0], membersOf(entries[0]))
	}
	problems = append(guesses, problems...)
	if n := len(problems) - mostProblems; n > 0 {
		problems = append(problems[:mostProblems], fmt.Sprintf("and %d more of the kind", n))
	}
	return list, problems, nil
}

// membersOf names the members of an object, in order, without their values.
func membersOf(raw json.RawMessage) string {
	var o object
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return "no members, since it is not an object"
	}
	const most = 20
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if len(names) == most {
			names = append(names, "and others")
			break
		}
		names = append(names, shown(name))
	}
	if len(names) == 0 {
		return "no members"
	}
	return "the members " + strings.Join(names, ", ")
}

// shown is a foreign name for a log: quoted, printable and short.
func shown(name string) string { return strconv.QuoteToGraphic(problem.Clip(name)) }

// entriesOf finds the list in an array or an object. A guess says where it was found, if
// not where it was to be.
func entriesOf(body []byte) (entries []json.RawMessage, guesses []string, err error) {
	if len(body) > MaxBody {
		return nil, nil, fmt.Errorf("its list is longer than %d MB", MaxBody>>20)
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return nil, nil, errors.New("its answer is empty")
	case body[0] == '<':
		return nil, nil, errors.New("its answer is a web page and no list; look whether the URL is right and " +
			"no proxy answers instead")
	case body[0] == '[':
		if err := json.Unmarshal(body, &entries); err != nil {
			return nil, nil, fmt.Errorf("its answer is not whole or no JSON: %w", err)
		}
		return entries, nil, nil
	}
	var whole object
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, nil, fmt.Errorf("its answer is not whole, no JSON, or no list: %w", err)
	}
	raw, ok := whole[items]
	if !ok {
		var name string
		name, raw = onlyMember(whole, func(_ string, v json.RawMessage) bool {
			var list []object
			return len(v) > 0 && v[0] == '[' && json.Unmarshal(v, &list) == nil && len(list) > 0
		})
		if name != "" {
			guesses = append(guesses, guess+"the registry's list is taken to be "+shown(name)+
				", the one member that is a list of objects")
		}
	}
	if len(raw) == 0 || raw[0] != '[' {
		return nil, nil, fmt.Errorf("its answer is an object without a list %q, but with %s; registry.fields can name "+
			"another member", items, membersOf(body))
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, nil, fmt.Errorf("its answer is no list: %w", err)
	}
	return entries, guesses, nil
}

// guess begins a remark about what was found by its shape.
const guess = "guessed: "

// onlyMember gives the one member that fits, or nothing if none does or several do.
func onlyMember(o object, fits func(name string, raw json.RawMessage) bool) (name string, raw json.RawMessage) {
	for n, v := range o {
		if !fits(n, v) {
			continue
		}
		if raw != nil {
			return "", nil
		}
		name, raw = n, v
	}
	return name, raw
}

// guessed gives the members of a provider under their known names, where those are missing
// and the shape of another member leaves no doubt: the one https URL, the one id, and,
// by what their names say, the dates, the version and the maintenance.
func guessed(entry object, fields *config.Fields) (_ object, remarks []string) {
	named := config.OfficialFields()
	_, hasID := entry[fields.ID]
	_, hasURL := entry[fields.URL]
	if hasID && hasURL || fields.ID != named.ID || fields.URL != named.URL {
		return entry, nil // the official names are in use, or the operator has named others
	}
	entry = maps.Clone(entry)
	says := func(words ...string) func(string, json.RawMessage) bool {
		return func(name string, raw json.RawMessage) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(name), w) }) &&
				!absent(raw)
		}
	}
	isURL := func(_ string, raw json.RawMessage) bool {
		s, err := text(raw)
		return err == nil && strings.HasPrefix(strings.ToLower(s), "https://")
	}
	isID := func(name string, raw json.RawMessage) bool {
		s, err := text(raw)
		return err == nil && (strings.HasSuffix(name, "Id") || strings.HasSuffix(name, "ID")) && checkID(s) == nil
	}
	calledID := func(name string, _ json.RawMessage) bool { return strings.EqualFold(name, "id") }
	for _, m := range []struct {
		known, what string
		fits        func(string, json.RawMessage) bool
	}{
		{fields.ID, "id", calledID}, {fields.ID, "id", isID}, {fields.URL, "URL", isURL},
		{fields.DeactivationDate, "deactivation", says("deactivation", "enddate", "validuntil", "validto")},
		{fields.ActivationDate, "activation", func(name string, raw json.RawMessage) bool {
			return says("activation", "startdate", "validfrom")(name, raw) && !says("deactivation")(name, raw)
		}},
		{fields.APIVersion, "version", says("version")}, {fields.Maintenance, "maintenance", says("maintenance")},
	} {
		if _, there := entry[m.known]; there {
			continue
		}
		if name, raw := onlyMember(entry, m.fits); name != "" {
			entry[m.known] = raw
			remarks = append(remarks, guess+"a provider's "+m.what+" is taken to be "+shown(name)+
				"; if that is right, say so in registry.fields")
		}
	}
	return entry, remarks
}

// parseProvider reads one entry. An error means that it cannot be used; the provider is
// returned all the same if its id is known. Remarks are about parts that it can do
// without.
func parseProvider(raw json.RawMessage, r *config.Registry) (_ *Provider, remarks []string, err error) {
	var entry object
	if err := json.Unmarshal(raw, &entry); err != nil || entry == nil {
		return nil, nil, errors.New("it is not an object")
	}
	fields := &r.Fields
	entry, remarks = guessed(entry, fields)
	id, err := text(entry[fields.ID])
	if err != nil {
		return nil, nil, fmt.Errorf("its %s %w", fields.ID, err)
	}
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	out := &Provider{ID: id}
	link, err := text(entry[fields.URL])
	if err != nil || link == "" {
		return out, nil, fmt.Errorf("its %s is missing or no text", fields.URL)
	}
	if out.Base, err = config.BaseURL(link); err != nil {
		return out, nil, fmt.Errorf("its URL %w", err)
	}
	out.Refusal = refusal(out.Base, r)

	// A life that cannot be read could be over: the entry is not used.
	if out.Activation, err = moment(entry[fields.ActivationDate], false); err != nil {
		return out, nil, fmt.Errorf("its %s %w", fields.ActivationDate, err)
	}
	if out.Deactivation, err = moment(entry[fields.DeactivationDate], true); err != nil {
		return out, nil, fmt.Errorf("its %s %w", fields.DeactivationDate, err)
	}

	out.Name, out.Description = translated(entry[fields.Name]), translated(entry[fields.Description])
	out.APIVersion, _ = text(entry[fields.APIVersion])
	out.Contact, _ = text(entry[fields.Contact])
	windows, ignored := maintenance(entry[fields.Maintenance], fields)
	out.Maintenance = windows
	return out, append(remarks, ignored...), nil
}

// maintenance reads the windows. One that cannot be read is left out: at worst the
// provider is called while it is down, and says so itself.
func maintenance(raw json.RawMessage, fields *config.Fields) (windows []ebox.Window, remarks []string) {
	if absent(raw) {
		return nil, nil
	}
	var list []object
	if json.Unmarshal(raw, &list) != nil {
		return nil, []string{"its " + fields.Maintenance + " is no list of windows and is ignored"}
	}
	for _, w := range list {
		start, err := moment(w[fields.MaintenanceStart], false)
		end, errEnd := moment(w[fields.MaintenanceEnd], true)
		if err == nil && errEnd == nil && !start.IsZero() && !end.IsZero() {
			windows = append(windows, ebox.Window{Start: start, End: end})
		}
	}
	if n := len(list) - len(windows); n > 0 {
		remarks = append(remarks, fmt.Sprintf("maintenance windows that are ignored: %d, whose %s and %s are not both "+
			"date-times", n, fields.MaintenanceStart, fields.MaintenanceEnd))
	}
	windows, backwards := merged(windows)
	if backwards > 0 {
		remarks = append(remarks,
			fmt.Sprintf("maintenance windows that are ignored: %d, which end before they begin", backwards))
	}
	return windows, remarks
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// text reads a string; a number is taken as it is written, so that the version 2.10
// stays 2.10. An absent member is "".
func text(raw json.RawMessage) (string, error) {
	if absent(raw) {
		return "", nil
	}
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		return string(raw), nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", errors.New("is no text")
	}
	return s, nil
}

// translated reads a text by language (TranslatedString) or a plain one, which
// then stands under "". What is neither is no text.
func translated(raw json.RawMessage) map[string]string {
	if absent(raw) {
		return nil
	}
	if s, err := text(raw); err == nil {
		return map[string]string{"": s}
	}
	var languages object
	if json.Unmarshal(raw, &languages) != nil {
		return nil
	}
	out := make(map[string]string, len(languages))
	for language, raw := range languages {
		if s, err := text(raw); err == nil && s != "" {
			out[language] = s
		}
	}
	return out
}

// earliest and latest stand for dates beyond them, which neither JSON (RFC 3339) nor HTTP can write.
var (
	earliest = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// moment reads a date-time, which without a zone is Brussels time, or a day in Brussels, which
// stands for its beginning or, if it is the last, for its end (see ebox.Date for the forms). An
// absent or empty member is the zero time; the result is in UTC.
func moment(raw json.RawMessage, last bool) (time.Time, error) {
	if absent(raw) || string(raw) == `""` {
		return time.Time{}, nil
	}
	t, day, ok := ebox.Date(raw, ebox.Brussels())
	if !ok {
		return time.Time{}, errors.New("is neither a date nor a date-time")
	}
	if day && last {
		t = t.AddDate(0, 0, 1) // not 24 hours: two days a year have 23 or 25
	}
	switch t = t.UTC(); {
	case t.Before(earliest):
		return earliest, nil
	case t.After(latest):
		return latest, nil
	}
	return t, nil
}
