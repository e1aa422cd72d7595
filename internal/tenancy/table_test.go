package tenancy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"ebox-gateway/internal/enterprise"

	"pgregory.net/rapid"
)

func TestTableFindsWhatItHolds(t *testing.T) {
	for name, n := range map[string]int{"none": 0, "one": 1, "as many as a power of two": 1024, "many": 10_000} {
		t.Run(name, func(t *testing.T) {
			list := enterprises(n)
			tab := table(t, list)
			if tab.Len() != n {
				t.Fatalf("Len() = %d", tab.Len())
			}
			for i := range list {
				row, ok := tab.Lookup(list[i].Number)
				if !ok || row.Number != list[i].Number || row.Name != list[i].Name {
					t.Fatalf("row %d: %v, %v", i, row, ok)
				}
			}
			if row, ok := tab.Lookup(dairy); ok {
				t.Fatalf("found %v", row)
			}
		})
	}
}

func TestTableRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		list []Enterprise
		want string
	}{
		"a number twice": {[]Enterprise{{Number: bakery}, {Number: dairy}, {Number: bakery}}, "0206731645 is listed twice"},
		"no number":      {[]Enterprise{{Name: "Ghost"}}, `"Ghost"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewTable(c.list, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v", err)
			}
		})
	}
}

func TestTableDoesNotFollowItsInput(t *testing.T) {
	list := []Enterprise{{Number: bakery, Name: "Bakery", Routes: []string{"ebox"}}}
	tab := table(t, list)
	list[0].Suspended, list[0].Routes[0] = true, "grant-citizen"
	if row, _ := tab.Lookup(bakery); row.Suspended || row.Routes[0] != "ebox" {
		t.Fatalf("the row changed: %v", row)
	}
}

func TestSuspendedNumbersNeedNotBeListed(t *testing.T) {
	tab := table(t, []Enterprise{{Number: bakery}}, dairy, dairy, chemist)
	for n, want := range map[enterprise.Number]bool{bakery: false, dairy: true, chemist: true, brewery: false, 0: false} {
		if tab.Suspended(n) != want {
			t.Errorf("Suspended(%s) = %v", n, !want)
		}
	}
	changed := tab.WithSuspended([]enterprise.Number{bakery})
	if !changed.Suspended(bakery) || changed.Suspended(dairy) || changed.Len() != 1 || !tab.Suspended(dairy) {
		t.Fatal("WithSuspended did not replace the suspended numbers alone")
	}
}

func TestNoTableIsEmpty(t *testing.T) {
	for name, tab := range map[string]*Table{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			if _, ok := tab.Lookup(bakery); ok || tab.Suspended(bakery) || tab.Len() != 0 {
				t.Fatal("it holds something")
			}
			if s := tab.WithSuspended([]enterprise.Number{bakery}); !s.Suspended(bakery) {
				t.Fatal("nothing can be suspended")
			}
		})
	}
}

func TestNilAndEmptyRoutesStayApart(t *testing.T) {
	tab := table(t, []Enterprise{{Number: bakery}, {Number: dairy, Routes: []string{}},
		{Number: chemist, Routes: []string{"a b"}}, {Number: brewery, Routes: []string{"a", "b"}}})
	for n, want := range map[enterprise.Number]string{bakery: "[]string(nil)", dairy: "[]string{}",
		chemist: `[]string{"a b"}`, brewery: `[]string{"a", "b"}`} {
		if row, _ := tab.Lookup(n); fmt.Sprintf("%#v", row.Routes) != want {
			t.Errorf("%s: %#v", n, row.Routes)
		}
	}
}

func TestNumberSetHoldsExactlyItsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.Map(rapid.Uint32Range(1, 1_999_999_999), func(v uint32) enterprise.Number {
			return enterprise.Number(v)
		})
		list := rapid.SliceOf(any).Draw(t, "list")
		set := newNumberSet(list)
		want := make(map[enterprise.Number]bool)
		for _, n := range list {
			want[n] = true
			if !set.has(n) {
				t.Fatalf("%d is missing", n)
			}
		}
		if probe := any.Draw(t, "probe"); set.has(probe) != want[probe] {
			t.Fatalf("has(%d) = %v", probe, !want[probe])
		}
	})
}

// An office with 100,000 enterprises must not pay for them in memory that the
// collector has to walk: the text of the file they came from may not be kept.
func TestTableIsCompact(t *testing.T) {
	const n = 100_000
	list := enterprises(n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab := table(t, list)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%.0f bytes per enterprise", each)
	if each > 160 {
		t.Fatalf("%.0f bytes per enterprise", each)
	}
	runtime.KeepAlive(tab)
	runtime.KeepAlive(list)
}

// enterprises makes n rows with numbers given out in a row, as the register does.
func enterprises(n int) []Enterprise {
	list := make([]Enterprise, 0, n)
	for head := uint32(2_000_000); len(list) < n; head++ {
		list = append(list, Enterprise{
			Number: enterprise.Number(head*100 + 97 - head%97),
			Name:   fmt.Sprintf("Enterprise %d", head), Client: "payroll", Routes: []string{"ebox", "grant-citizen"},
		})
	}
	return list
}
