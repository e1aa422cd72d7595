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
	handle, known := s.controls()[r.Method+" "+name]
	if !known {
		http.Error(w, "no such control; gateway help simulator lists them", http.StatusNotFound)
		return
	}
	answer, err := handle(r, arg)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", plainJSON)
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(answer) // a client that went away is no error of ours
	}
}

// controls are what can be done, by method and first segment of the path. The second
// segment, unescaped, is their argument.
func (s *Simulator) controls() map[string]func(r *http.Request, arg string) (any, error) {
	return map[string]func(*http.Request, string) (any, error){
		"GET state":        func(*http.Request, string) (any, error) { return s.controlState(), nil },
		"GET faults":       func(*http.Request, string) (any, error) { return s.faultList(), nil },
		"GET requests":     s.controlRequests,
		"DELETE faults":    s.controlRemoveFault,
		"DELETE requests":  func(*http.Request, string) (any, error) { s.ResetRequests(); return nil, nil },
		"DELETE clients":   func(_ *http.Request, id string) (any, error) { s.UnregisterClient(id); return nil, nil },
		"DELETE providers": func(_ *http.Request, id string) (any, error) { s.removeProvider(id); return nil, nil },
		"POST revoke": func(*http.Request, string) (any, error) {
			return map[string]int{"revoked": s.RevokeTokens()}, nil
		},
		"POST faults": onOrder(s.controlFault),
		"POST page-form": onOrder(func(o struct {
			Provider string
			Form     PageForm
		}, _ string) (any, error) {
			return nil, s.SetPageForm(o.Provider, o.Form)
		}),
		"POST grant-health": onOrder(func(o struct{ Up bool }, _ string) (any, error) {
			s.SetGrantHealth(o.Up)
			return nil, nil
		}),
		"POST token-lifetime": onOrder(func(o struct{ Lifetime string }, _ string) (any, error) {
			d, err := time.ParseDuration(o.Lifetime)
			if err != nil || d <= 0 {
				return nil, errors.New("reading lifetime: a duration above zero is expected, as in 30s")
			}
			s.setTokenLifetime(d)
			return nil, nil
		}),
		"POST messages": onOrder(func(o struct {
			Provider   string
			Enterprise enterprise.Number
			Draft
		}, _ string) (any, error) {
			id, err := s.AddMessage(o.Provider, o.Enterprise, o.Draft)
			return map[string]string{"messageId": id}, err
		}),
		"PUT clients":   onOrder(s.controlClient),
		"PUT providers": s.controlSetProvider,
		"PUT mandates":  onOrder(func(m mandate, _ string) (any, error) { return nil, s.setMandate(m) }),
		"DELETE mandates": onOrder(func(m mandate, _ string) (any, error) {
			s.removeMandates(m.Enterprise, m.Kind)
			return nil, nil
		}),
	}
}

// onOrder is a control whose body is an order in JSON.
func onOrder[T any](carryOut func(order T, arg string) (any, error)) func(*http.Request, string) (any, error) {
	return func(r *http.Request, arg string) (any, error) {
		var order T
		if err := readOrderInto(&order, r.Body); err != nil {
			return nil, err
		}
		return carryOut(order, arg)
	}
}

// readOrderInto refuses members that do not exist: a misspelt one would be a fault that never
// shows.
func readOrderInto(v any, body io.Reader) error {
	d := json.NewDecoder(io.LimitReader(body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

// faultOrder is a fault whose delay is a text: "250ms".
type faultOrder struct {
	Fault
	Delay string `json:"delay,omitempty"`
}

func (s *Simulator) controlFault(o faultOrder, _ string) (any, error) {
	if o.Delay != "" {
		var err error
		if o.Fault.Delay, err = time.ParseDuration(o.Delay); err != nil {
			return nil, fmt.Errorf("reading delay: %w", err)
		}
	}
	id, err := s.Fault(o.Fault)
	return map[string]int{"id": id}, err
}

// faultList lists the faults in force, those used up among them.
func (s *Simulator) faultList() []faultOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]faultOrder, len(s.faults))
	for i, f := range s.faults {
		list[i].Fault = *f
		if f.Delay != 0 {
			list[i].Delay = f.Delay.String()
		}
	}
	return list
}

func (s *Simulator) controlState() any {
	state := map[string]any{
		"urls": map[string]string{
			UpstreamToken: s.TokenURL(), UpstreamRegistry: s.RegistryURL(), "oldRegistry": s.OldRegistryURL(),
			UpstreamPartition: s.PartitionURL(), UpstreamFederation: s.FederationURL(), UpstreamGrant: s.GrantURL(),
		},
		"tokensIssued": s.TokensIssuedFor(), "faults": s.faultList(), "providers": s.Providers(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state["mandates"] = s.mandateList()
	state["clients"], state["tokenLifetime"] = slices.Sorted(maps.Keys(s.clients)), s.lifetime.String()
	state["requests"], state["grantUp"] = maps.Clone(s.record.counts), !s.citizen.down
	return state
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
	list := []Recorded{}
	for _, one := range s.Requests() {
		if q.Has("upstream") && one.Upstream != q.Get("upstream") {
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

// clientOrder is a client whose certificate is PEM.
type clientOrder struct {
	Client
	Certificate string
}

func (s *Simulator) controlClient(o clientOrder, id string) (any, error) {
	block, _ := pem.Decode([]byte(o.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("reading certificate: a PEM block CERTIFICATE is expected")
	}
	var err error
	if o.Client.Certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	o.ID = id
	return nil, s.RegisterClient(o.Client)
}

// controlSetProvider changes the members that the body has and keeps the others.
func (s *Simulator) controlSetProvider(r *http.Request, id string) (any, error) {
	s.mu.Lock()
	p, _ := s.provider(id)
	s.mu.Unlock()
	// Decoding writes into what a value already holds, which the list still shows.
	p.Maintenance = slices.Clone(p.Maintenance)
	p.Name, p.Description = maps.Clone(p.Name), maps.Clone(p.Description)
	if err := readOrderInto(&p, r.Body); err != nil {
		return nil, err
	}
	p.ID = id
	return nil, s.SetProvider(p)
}
