package simulator

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
)

// control serves what is below /_control: the methods of Simulator over HTTP, in
// JSON. It is for people and scripts on the same machine, so a request that a page
// in a browser makes is refused.
func (s *Simulator) control(w http.ResponseWriter, r *http.Request, path string) {
	if r.Header.Get("Origin") != "" {
		http.Error(w, "not for browsers", http.StatusForbidden)
		return
	}
	name, arg, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	arg, err := url.PathUnescape(arg)
	if err != nil {
		http.Error(w, "the path cannot be read", http.StatusBadRequest)
		return
	}
	handle, known := map[string]func(*http.Request, string) (any, error){
		"GET state":           s.controlState,
		"GET faults":          func(*http.Request, string) (any, error) { return s.Faults(), nil },
		"POST faults":         s.controlFault,
		"DELETE faults":       s.controlRemoveFault,
		"GET requests":        s.controlRequests,
		"DELETE requests":     func(*http.Request, string) (any, error) { s.ResetRequests(); return nil, nil },
		"POST token-lifetime": s.controlLifetime,
		"POST revoke": func(*http.Request, string) (any, error) {
			return map[string]int{"revoked": s.RevokeTokens()}, nil
		},
		"PUT clients":      s.controlClient,
		"DELETE clients":   func(_ *http.Request, id string) (any, error) { s.UnregisterClient(id); return nil, nil },
		"GET providers":    s.controlProviders,
		"PUT providers":    s.controlSetProvider,
		"DELETE providers": func(_ *http.Request, id string) (any, error) { s.RemoveProvider(id); return nil, nil },
		"POST page-form": func(r *http.Request, _ string) (any, error) {
			var order struct {
				Provider string
				Form     PageForm
			}
			if err := readControl(r, &order); err != nil {
				return nil, err
			}
			return nil, s.SetPageForm(order.Provider, order.Form)
		},
		"PUT mandates":    s.controlMandate,
		"DELETE mandates": s.controlRemoveMandate,
		"POST messages":   s.controlMessage,
		"POST grant-health": func(r *http.Request, _ string) (any, error) {
			var order struct{ Up bool }
			err := readControl(r, &order)
			if err == nil {
				s.SetGrantHealth(order.Up)
			}
			return nil, err
		},
	}[r.Method+" "+name]
	if !known {
		http.Error(w, "no such control; the package comment of internal/simulator lists them", http.StatusNotFound)
		return
	}
	answer, err := handle(r, arg)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		body, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n'))
	}
}

// readControl refuses members that do not exist: a misspelt one would be a fault
// that never shows.
func readControl(r *http.Request, v any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

func (s *Simulator) controlState(*http.Request, string) (any, error) {
	s.authorization.mu.RLock()
	clients := make([]string, 0, len(s.authorization.clients))
	for id := range s.authorization.clients {
		clients = append(clients, id)
	}
	lifetime := s.authorization.lifetime
	s.authorization.mu.RUnlock()
	slices.Sort(clients)
	return struct {
		URLs      map[string]string `json:"urls"`
		Clients   []string          `json:"clients"`
		Lifetime  string            `json:"tokenLifetime"`
		Issued    map[string]int    `json:"tokensIssued"`
		Requests  map[string]uint64 `json:"requests"`
		Faults    []Fault           `json:"faults"`
		Providers []Provider        `json:"providers"`
		Mandates  []Mandate         `json:"mandates"`
		GrantUp   bool              `json:"grantUp"`
	}{
		map[string]string{
			UpstreamToken: s.TokenURL(), UpstreamRegistry: s.RegistryURL(), "oldRegistry": s.OldRegistryURL(),
			UpstreamPartition: s.PartitionURL(), UpstreamFederation: s.FederationURL(), UpstreamGrant: s.GrantURL(),
		},
		clients, lifetime.String(), s.TokensIssuedFor(), s.record.countAll(), s.Faults(), s.Providers(), s.Mandates(),
		!s.citizen.down.Load(),
	}, nil
}

func (s *Simulator) controlFault(r *http.Request, _ string) (any, error) {
	var f Fault
	if err := readControl(r, &f); err != nil {
		return nil, err
	}
	id, err := s.Fault(f)
	if err != nil {
		return nil, err
	}
	return map[string]int{"id": id}, nil
}

func (s *Simulator) controlRemoveFault(_ *http.Request, arg string) (any, error) {
	if arg == "" {
		s.ClearFaults()
		return nil, nil
	}
	id, err := strconv.Atoi(arg)
	if err != nil || !s.RemoveFault(id) {
		return nil, fmt.Errorf("removing fault %s: there is none of this id", arg)
	}
	return nil, nil
}

// controlRequests lists requests without the tokens they carried.
func (s *Simulator) controlRequests(r *http.Request, _ string) (any, error) {
	q := r.URL.Query()
	var since uint64
	if text := q.Get("since"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, errors.New("reading since: a sequence number is expected")
		}
		since = n
	}
	list := []Recorded{}
	for _, one := range s.Requests() {
		if one.Seq <= since || q.Has("upstream") && one.Upstream != q.Get("upstream") {
			continue
		}
		if one.Header.Get("Authorization") != "" {
			one.Header = one.Header.Clone() // the record keeps its own
			one.Header.Set("Authorization", "Bearer sha256:"+one.TokenSHA256)
		}
		list = append(list, one)
	}
	return list, nil
}

func (s *Simulator) controlLifetime(r *http.Request, _ string) (any, error) {
	var order struct{ Lifetime string }
	if err := readControl(r, &order); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(order.Lifetime)
	if err != nil || d <= 0 {
		return nil, errors.New("reading lifetime: a duration above zero is expected, as in 30s")
	}
	s.SetTokenLifetime(d)
	return nil, nil
}

func (s *Simulator) controlClient(r *http.Request, id string) (any, error) {
	var order struct {
		Enterprise          enterprise.Number
		Certificate         string
		Scopes              []string
		CitizenTermsRefused bool
	}
	if err := readControl(r, &order); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(order.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("reading certificate: a PEM block CERTIFICATE is expected")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	return nil, s.RegisterClient(Client{
		ID: id, Certificate: cert, Enterprise: order.Enterprise, Scopes: order.Scopes,
		CitizenTermsRefused: order.CitizenTermsRefused,
	})
}

func (s *Simulator) controlProviders(_ *http.Request, id string) (any, error) {
	if id == "" {
		return s.Providers(), nil
	}
	p, ok := s.directory.lookup(id)
	if !ok {
		return nil, fmt.Errorf("looking up provider %s: it is not on the list", id)
	}
	return p, nil
}

// controlSetProvider changes the members that the body has and keeps the others.
func (s *Simulator) controlSetProvider(r *http.Request, id string) (any, error) {
	p, _ := s.directory.lookup(id)
	// Decoding writes into what a value already holds, which the list still shows.
	p.Maintenance = slices.Clone(p.Maintenance)
	p.Name, p.Description = maps.Clone(p.Name), maps.Clone(p.Description)
	if err := readControl(r, &p); err != nil {
		return nil, err
	}
	p.ID = id
	return nil, s.SetProvider(p)
}

// mandateOrder is a mandate as the control endpoint takes it; dates are days.
type mandateOrder struct {
	Enterprise     enterprise.Number
	Representative enterprise.Number
	Kind           string
	From, Until    string
	Unvalidated    bool
	TermsRefused   bool
}

func (s *Simulator) controlMandate(r *http.Request, _ string) (any, error) {
	var o mandateOrder
	if err := readControl(r, &o); err != nil {
		return nil, err
	}
	m := Mandate{Enterprise: o.Enterprise, Representative: o.Representative, Kind: o.Kind, Unvalidated: o.Unvalidated,
		TermsRefused: o.TermsRefused}
	if o.Enterprise == 0 || o.Kind != MandateEbox && o.Kind != MandateDmfa {
		return nil, fmt.Errorf("setting a mandate: enterprise and kind (%s or %s) are required", MandateEbox, MandateDmfa)
	}
	var errFrom, errUntil error
	m.From, errFrom = parseDay(o.From)
	m.Until, errUntil = parseDay(o.Until)
	if errFrom != nil || errUntil != nil {
		return nil, errors.New("setting a mandate: from and until are days, as in 2026-01-31")
	}
	s.SetMandate(m)
	return nil, nil
}

// parseDay reads a day; an empty text is the zero time.
func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, text)
}

func (s *Simulator) controlRemoveMandate(r *http.Request, _ string) (any, error) {
	var o mandateOrder
	if err := readControl(r, &o); err != nil {
		return nil, err
	}
	s.RemoveMandates(o.Enterprise, o.Kind)
	return nil, nil
}

func (s *Simulator) controlMessage(r *http.Request, _ string) (any, error) {
	var order struct {
		Provider   string
		Enterprise enterprise.Number
		Subject    string
		Sizes      []int64
		Body       string
	}
	if err := readControl(r, &order); err != nil {
		return nil, err
	}
	id, err := s.AddMessage(order.Provider, order.Enterprise, Draft{Subject: order.Subject, Sizes: order.Sizes,
		Body: order.Body})
	if err != nil {
		return nil, err
	}
	return map[string]string{"messageId": id}, nil
}
