package tenancy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
)

// Enterprise is one enterprise that the gateway represents.
type Enterprise struct {
	Number enterprise.Number
	// Name is for people; Client names the OAuth client, the default one if empty.
	Name, Client string
	// Routes are the names or groups of the routes it may be used on; nil is all,
	// empty none.
	Routes []string
	// From and Until bound its service, From included and Until not; zero is open.
	From, Until time.Time
	// Suspended bars it whatever the dates say.
	Suspended bool
}

// Table holds the represented enterprises and the suspended numbers. It is
// immutable, and its look-ups take constant time and allocate nothing. An
// enterprise costs about 130 bytes besides its name. A nil Table is empty.
type Table struct {
	rows []Enterprise
	// slots is an open-addressed index, at most half full: position in rows plus
	// one, 0 for an empty slot. A Go map of pointers would cost thrice as much
	// and give the collector a pointer per row to follow.
	slots []uint32
	shift uint8
	// suspended is such an index too, of the numbers themselves.
	suspended numberSet
}

// NewTable builds a table from list and from the numbers of the suspended files.
// The list is copied. A number that stands in list twice is an error, since it
// could not be told which row counts; suspended numbers may repeat and need not
// be in list.
func NewTable(list []Enterprise, suspended []enterprise.Number) (*Table, error) {
	t := &Table{rows: slices.Clone(list), suspended: newNumberSet(suspended)}
	t.slots, t.shift = make([]uint32, slotsFor(len(list))), shiftFor(len(list))
	clients := make(map[string]string)
	routes := make(map[string][]string)
	var last []string // rows in a row mostly have the same routes
	names := namesOf(list)
	for i := range t.rows {
		row := &t.rows[i]
		if row.Number == 0 {
			return nil, fmt.Errorf("building the enterprise table: row %d (%q) has no number", i+1, row.Name)
		}
		if !t.place(i) {
			return nil, fmt.Errorf("building the enterprise table: %s is listed twice: keep one of the two", row.Number)
		}
		row.Name, names = names[:len(row.Name)], names[len(row.Name):]
		row.Client = shared(clients, row.Client)
		if len(row.Routes) == 0 || !slices.Equal(row.Routes, last) {
			last = sharedList(routes, row.Routes)
		}
		row.Routes = last
	}
	return t, nil
}

// place enters row i into the index, false if its number is there already.
func (t *Table) place(i int) bool {
	mask := uint32(len(t.slots) - 1)
	n := t.rows[i].Number
	for at := spread(n, t.shift); ; at = (at + 1) & mask {
		switch s := t.slots[at]; {
		case s == 0:
			t.slots[at] = uint32(i + 1)
			return true
		case t.rows[s-1].Number == n:
			return false
		}
	}
}

// WithSuspended returns the same table with other suspended numbers, for a
// suspended file that changed while the rest of the configuration stays as it is.
// The rows are shared.
func (t *Table) WithSuspended(suspended []enterprise.Number) *Table {
	var changed Table
	if t != nil {
		changed = *t
	}
	changed.suspended = newNumberSet(suspended)
	return &changed
}

// Lookup finds the row of n. The row belongs to the table and must not be changed.
func (t *Table) Lookup(n enterprise.Number) (*Enterprise, bool) {
	if t.Len() == 0 {
		return nil, false
	}
	mask := uint32(len(t.slots) - 1)
	for at := spread(n, t.shift); ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			return nil, false
		}
		if row := &t.rows[s-1]; row.Number == n {
			return row, true
		}
	}
}

// Suspended tells whether a suspended file names n, listed or not.
func (t *Table) Suspended(n enterprise.Number) bool { return t != nil && t.suspended.has(n) }

// Len is the number of rows.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.rows)
}

// numberSet is an open-addressed set of numbers, at most half full; 0 marks an
// empty slot, since no CBE number is 0. The zero numberSet is empty.
type numberSet struct {
	slots []enterprise.Number
	shift uint8
}

func newNumberSet(list []enterprise.Number) numberSet {
	if len(list) == 0 {
		return numberSet{}
	}
	s := numberSet{slots: make([]enterprise.Number, slotsFor(len(list))), shift: shiftFor(len(list))}
	mask := uint32(len(s.slots) - 1)
	for _, n := range list {
		if n == 0 {
			continue
		}
		at := spread(n, s.shift)
		for s.slots[at] != 0 && s.slots[at] != n {
			at = (at + 1) & mask
		}
		s.slots[at] = n
	}
	return s
}

func (s numberSet) has(n enterprise.Number) bool {
	if len(s.slots) == 0 || n == 0 {
		return false
	}
	mask := uint32(len(s.slots) - 1)
	for at := spread(n, s.shift); s.slots[at] != 0; at = (at + 1) & mask {
		if s.slots[at] == n {
			return true
		}
	}
	return false
}

// shiftFor gives the right shift that leaves the bits of a slot: at least one more
// than len needs, so that probing always meets an empty slot.
func shiftFor(n int) uint8 {
	bits := uint8(2)
	for 1<<bits < 2*n {
		bits++
	}
	return 32 - bits
}

func slotsFor(n int) int { return 1 << (32 - shiftFor(n)) }

// spread is Fibonacci hashing: numbers given out in a row, as CBE numbers are,
// land far apart.
func spread(n enterprise.Number, shift uint8) uint32 { return uint32(n) * 2654435769 >> shift }

// namesOf writes all names into one string, of which the rows keep slices: one
// object instead of one per row, and none of the file that they may be slices of.
func namesOf(list []Enterprise) string {
	var b strings.Builder
	size := 0
	for i := range list {
		size += len(list[i].Name)
	}
	b.Grow(size)
	for i := range list {
		b.WriteString(list[i].Name)
	}
	return b.String()
}

// shared lets equal strings share their bytes, and lets go of the file too.
func shared(known map[string]string, s string) string {
	if k, ok := known[s]; ok {
		return k
	}
	k := strings.Clone(s)
	known[k] = k
	return k
}

func sharedList(known map[string][]string, list []string) []string {
	if list == nil {
		return nil
	}
	key := strings.Join(list, "\x00")
	if k, ok := known[key]; ok && len(k) == len(list) {
		return k
	}
	k := make([]string, len(list))
	for i, s := range list {
		k[i] = strings.Clone(s)
	}
	known[key] = k
	return k
}
