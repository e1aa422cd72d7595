package tenancy

import (
	"fmt"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
)

func TestTableFindsWhatItHolds(t *testing.T) {
	list := enterprises(1000)
	tab := table(t, list)
	for i := range list {
		if row, ok := tab.Lookup(list[i].Number); !ok || row != &list[i] {
			t.Fatalf("row %d: %v, %v", i, row, ok)
		}
	}
	if row, ok := tab.Lookup(dairy); ok {
		t.Fatalf("found %v", row)
	}
}

func TestSuspendedNumbersNeedNotBeListed(t *testing.T) {
	tab := table(t, []config.Enterprise{{Number: bakery}}, dairy, dairy, chemist)
	for n, want := range map[enterprise.Number]bool{bakery: false, dairy: true, chemist: true, brewery: false, 0: false} {
		if tab.Suspended(n) != want {
			t.Errorf("Suspended(%s) = %v", n, !want)
		}
	}
	changed := tab.WithSuspended(map[enterprise.Number]bool{bakery: true})
	if !changed.Suspended(bakery) || changed.Suspended(dairy) || !tab.Suspended(dairy) {
		t.Fatal("WithSuspended did not replace the suspended numbers alone")
	}
}

func TestNoTableIsEmpty(t *testing.T) {
	for name, tab := range map[string]*Table{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			if _, ok := tab.Lookup(bakery); ok || tab.Suspended(bakery) {
				t.Fatal("it holds something")
			}
			if s := tab.WithSuspended(map[enterprise.Number]bool{bakery: true}); !s.Suspended(bakery) {
				t.Fatal("nothing can be suspended")
			}
		})
	}
}

// enterprises makes n rows with numbers given out in a row, as the register does.
func enterprises(n int) []config.Enterprise {
	list := make([]config.Enterprise, 0, n)
	for head := uint32(2_000_000); len(list) < n; head++ {
		list = append(list, config.Enterprise{
			Number: enterprise.Number(head*100 + 97 - head%97),
			Name:   fmt.Sprintf("Enterprise %d", head), Client: "payroll", Routes: []string{"ebox", "grant-citizen"},
		})
	}
	return list
}
