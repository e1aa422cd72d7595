package mandates_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/operate/mandates"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// numbers makes n valid CBE numbers, none of them known in Mahis.
func numbers(n int) []config.Enterprise {
	list := make([]config.Enterprise, 0, n)
	for eight := uint64(8_000_023); len(list) < n; eight++ {
		list = append(list, config.Enterprise{Number: enterprise.Number(eight*100 + 97 - eight%97), Client: "demo"})
	}
	return list
}

// newCheck prepares a check of one provider before a simulator, in haste. edits are made in the configuration.
func newCheck(t *testing.T, edits ...string) (*simulator.Simulator, *mandates.Check) {
	t.Helper()
	sim := lab.Simulator(t, simulator.Options{})
	_, g := lab.New(t, lab.Config(t, sim, edits...), lab.Dir(t))
	check, err := mandates.New(t.Context(), g.View(), []string{"nsso"}, false)
	testkit.Must(t, err)
	check.PerSecond, check.Patience = 100_000, time.Millisecond
	return sim, check
}

var mandated = []config.Enterprise{{Number: 206731645, Client: "demo", Name: "Mandated"}}

func collect(t *testing.T, check *mandates.Check, list []config.Enterprise) []mandates.Finding {
	t.Helper()
	var all []mandates.Finding
	err := check.Run(t.Context(), list, nil, func(f []mandates.Finding) error {
		all = append(all, f...)
		return nil
	})
	testkit.Must(t, err)
	return all
}

func TestAskingForAnEnterpriseMarksNothingReadAndShowsWhoItIsFor(t *testing.T) {
	sim, check := newCheck(t)
	found := collect(t, check, mandated)
	if len(found) != 1 || found[0].Result != mandates.Usable || found[0].Name != "Mandated" {
		t.Fatalf("%+v", found)
	}
	asked := sim.RequestsTo(simulator.ProviderUpstream("nsso"))
	if len(asked) != 1 {
		t.Fatalf("%d requests", len(asked))
	}
	r := asked[0]
	if r.Method != "GET" || !strings.HasSuffix(r.Path, "/ebox/messages") ||
		r.Header.Get("On-Behalf-Of-Enterprise-Number") != "0206731645" || r.Header.Get("Belgov-Trace-Id") == "" {
		t.Errorf("%s %s %v", r.Method, r.Path, r.Header)
	}
}

func TestAProviderThatFailsIsAskedAgainAndThenNoLonger(t *testing.T) {
	failing := func(t *testing.T, count int) (*simulator.Simulator, *mandates.Check) {
		sim, check := newCheck(t)
		lab.Fault(t, sim, simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultStatus,
			Status: 500, Count: count})
		return sim, check
	}
	t.Run("twice, and all is well", func(t *testing.T) {
		_, check := failing(t, 2)
		if found := collect(t, check, mandated); found[0].Result != mandates.Usable {
			t.Errorf("%+v", found)
		}
	})
	t.Run("for ever, and forty enterprises are not waited for", func(t *testing.T) {
		sim, check := failing(t, 0)
		check.AtOnce = 1
		found := collect(t, check, numbers(40))
		for _, f := range found {
			if f.Result != mandates.NotTested || f.Status != 500 {
				t.Fatalf("%+v", f)
			}
		}
		// Three enterprises three times, the others once.
		if n := len(sim.RequestsTo(simulator.ProviderUpstream("nsso"))); len(found) != 40 || n != 3*3+37 {
			t.Errorf("%d findings of %d requests", len(found), n)
		}
	})
}

func TestARefusedClientIsNoRefusedMandate(t *testing.T) {
	sim, check := newCheck(t, "registry:\n", "registry:\n  client: demo\n")
	few := lab.Client(t)
	few.Scopes = []string{simulator.ScopeRegistry}
	testkit.Must(t, sim.RegisterClient(few))
	found := collect(t, check, mandated)
	if f := found[0]; f.Result != mandates.NotTested || !strings.Contains(f.Reason, "invalid_scope") {
		t.Errorf("%+v", f)
	}
}

func TestAnInterruptedCheckGivesWholeEnterprisesAndEnds(t *testing.T) {
	_, check := newCheck(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(map[enterprise.Number]bool)
	err := check.Run(ctx, numbers(10_000), nil, func(f []mandates.Finding) error {
		for _, one := range f {
			if one.Result != mandates.Refused || seen[one.Enterprise] {
				t.Errorf("%+v", one)
			}
			seen[one.Enterprise] = true
		}
		if len(seen) == 50 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(seen) < 50 || len(seen) > 60 {
		t.Errorf("%d enterprises, %v", len(seen), err)
	}
}

// Who writes the findings down has a full disk: the next ones would stand behind the half of a line.
func TestNothingIsReportedAfterAReportThatFailed(t *testing.T) {
	sim, check := newCheck(t)
	full := errors.New("the disk is full")
	reports := 0
	err := check.Run(t.Context(), numbers(50), nil, func([]mandates.Finding) error {
		reports++
		testkit.Eventually(t, "the findings of the others", func() bool {
			return len(sim.RequestsTo(simulator.ProviderUpstream("nsso"))) >= check.AtOnce
		})
		return full
	})
	if !errors.Is(err, full) || reports != 1 {
		t.Errorf("%d reports, %v", reports, err)
	}
}
