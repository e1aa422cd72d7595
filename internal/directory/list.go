package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// Fields names the members of a provider in the registry's list. An empty field
// stands for the name that the Provider Registry 1.3 uses.
type Fields struct {
	// Items is the member that holds the list if the answer is an object.
	Items string
	// The members of a provider.
	ID, Name, Description, URL string
	Activation, Deactivation   string
	APIVersion, Contact        string
	// Maintenance is the list of windows, Start and End their members.
	Maintenance, Start, End string
}

func (f Fields) orDefaults() Fields {
	for _, d := range []struct {
		field *string
		name  string
	}{
		{&f.Items, "items"},
		{&f.ID, "messageProviderId"},
		{&f.Name, "messageProviderName"},
		{&f.Description, "messageProviderDescription"},
		{&f.URL, "messageProviderUrl"},
		{&f.Activation, "messageProviderActivationDate"},
		{&f.Deactivation, "messageProviderDeactivationDate"},
		{&f.APIVersion, "apiSupportedVersion"},
		{&f.Contact, "messageProviderTechnicalContact"},
		{&f.Maintenance, "messageProviderPlannedMaintenance"},
		{&f.Start, "startDate"},
		{&f.End, "endDate"},
	} {
		if *d.field == "" {
			*d.field = d.name
		}
	}
	return f
}

// parser reads the registry's list.
type parser struct {
	fields Fields
	hosts  hostList
}

type object = map[string]json.RawMessage

// parse reads a list in either shape. Entries that cannot be used are left out and
// named in problems. An error means that the whole is not to be believed.
func (p *parser) parse(body []byte) (list []*Provider, problems []string, err error) {
	entries, err := p.entries(body)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) == 0 {
		return nil, nil, errors.New("its list is empty")
	}
	seen := make(map[string]bool, len(entries))
	for i, raw := range entries {
		provider, remarks, err := p.provider(raw)
		name := fmt.Sprintf("entry %d of the registry's list", i+1)
		if provider != nil {
			name = fmt.Sprintf("provider %s", provider.ID)
		}
		for _, r := range remarks {
			problems = append(problems, name+": "+r)
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
		return nil, nil, fmt.Errorf("none of the %d entries of its list can be used; %s", len(entries), problems[0])
	}
	return list, problems, nil
}

// entries finds the list in an array or an object.
func (p *parser) entries(body []byte) (entries []json.RawMessage, err error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("its list is longer than %d MB", MaxBody>>20)
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return nil, errors.New("its answer is empty")
	case body[0] == '<':
		return nil, errors.New("its answer is a web page and no list; look whether the URL is right and no proxy answers instead")
	case body[0] == '[':
		if err := json.Unmarshal(body, &entries); err != nil {
			return nil, fmt.Errorf("its answer is not whole or no JSON: %w", err)
		}
		return entries, nil
	}
	var whole object
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, fmt.Errorf("its answer is not whole, no JSON, or no list: %w", err)
	}
	raw, ok := whole[p.fields.Items]
	if !ok || len(raw) == 0 || raw[0] != '[' {
		return nil, fmt.Errorf("its answer is an object without a list %q; registry.fields can name another member", p.fields.Items)
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("its answer is no list: %w", err)
	}
	return entries, nil
}

// provider reads one entry. An error means that it cannot be used; the provider is
// returned all the same if its id is known. Remarks are about parts that it can do
// without.
func (p *parser) provider(raw json.RawMessage) (_ *Provider, remarks []string, err error) {
	var entry object
	if err := json.Unmarshal(raw, &entry); err != nil || entry == nil {
		return nil, nil, errors.New("it is not an object")
	}
	id, err := text(entry[p.fields.ID])
	if err != nil {
		return nil, nil, fmt.Errorf("its %s %w", p.fields.ID, err)
	}
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	out := &Provider{ID: id}
	link, err := text(entry[p.fields.URL])
	if err != nil || link == "" {
		return out, nil, fmt.Errorf("its %s is missing or no text", p.fields.URL)
	}
	u, err := url.Parse(link)
	if err != nil { // the error would repeat the URL, and with it a password
		return out, nil, fmt.Errorf("its %s is no URL", p.fields.URL)
	}
	if out.Base, err = cleanURL(u); err != nil {
		return out, nil, err
	}
	out.Refusal = p.hosts.refusal(out.Base)

	// A life that cannot be read could be over: the entry is not used.
	if out.Activation, err = moment(entry[p.fields.Activation], startOfDay); err != nil {
		return out, nil, fmt.Errorf("its %s %w", p.fields.Activation, err)
	}
	if out.Deactivation, err = moment(entry[p.fields.Deactivation], endOfDay); err != nil {
		return out, nil, fmt.Errorf("its %s %w", p.fields.Deactivation, err)
	}

	out.Name, out.Description = translated(entry[p.fields.Name]), translated(entry[p.fields.Description])
	out.APIVersion, _ = text(entry[p.fields.APIVersion])
	out.Contact, _ = text(entry[p.fields.Contact])
	out.Maintenance, remarks = p.maintenance(entry[p.fields.Maintenance])
	return out, remarks, nil
}

// maintenance reads the windows. One that cannot be read is left out: at worst the
// provider is called while it is down, and says so itself.
func (p *parser) maintenance(raw json.RawMessage) (windows []Interval, remarks []string) {
	if absent(raw) {
		return nil, nil
	}
	var list []object
	if json.Unmarshal(raw, &list) != nil {
		return nil, []string{"its " + p.fields.Maintenance + " is no list of windows and is ignored"}
	}
	for i, w := range list {
		start, err := moment(w[p.fields.Start], startOfDay)
		end, errEnd := moment(w[p.fields.End], endOfDay)
		if err = errors.Join(err, errEnd); err != nil || start.IsZero() || end.IsZero() {
			remarks = append(remarks, fmt.Sprintf("maintenance window %d is ignored: %s and %s must both be date-times", i+1, p.fields.Start, p.fields.End))
			continue
		}
		windows = append(windows, Interval{start, end})
	}
	windows, backwards := merged(windows)
	if backwards > 0 {
		remarks = append(remarks, fmt.Sprintf("%d maintenance windows are ignored: they end before they begin", backwards))
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
