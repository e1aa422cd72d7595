package tenancy

import (
	"fmt"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
)

// Table holds the represented enterprises and the suspended numbers. It is immutable. The
// rows are the configuration's own; an enterprise costs some 20 bytes besides. A nil Table
// is empty.
type Table struct {
	rows []config.Enterprise
	// index gives the position in rows. Without pointers in it, the collector passes it over.
	index     map[enterprise.Number]int32
	suspended map[enterprise.Number]bool
}

// NewTable builds a table of list and of the numbers of the suspended files, both of which
// the table keeps: they must not change any more. A number that stands in list twice is an
// error, since it could not be told which row counts; suspended numbers need not be in list.
func NewTable(list []config.Enterprise, suspended map[enterprise.Number]bool) (*Table, error) {
	t := &Table{rows: list, index: make(map[enterprise.Number]int32, len(list)), suspended: suspended}
	for i := range list {
		n := list[i].Number
		if n == 0 {
			return nil, fmt.Errorf("building the enterprise table: row %d (%q) has no number", i+1, list[i].Name)
		}
		if _, twice := t.index[n]; twice {
			return nil, fmt.Errorf("building the enterprise table: %s is listed twice: keep one of the two", n)
		}
		t.index[n] = int32(i)
	}
	return t, nil
}

// WithSuspended returns the same table with other suspended numbers, for a suspended file
// that changed while the rest of the configuration stays as it is. The rows are shared.
func (t *Table) WithSuspended(suspended map[enterprise.Number]bool) *Table {
	var changed Table
	if t != nil {
		changed = *t
	}
	changed.suspended = suspended
	return &changed
}

// Lookup finds the row of n. The row belongs to the configuration and must not be changed.
func (t *Table) Lookup(n enterprise.Number) (*config.Enterprise, bool) {
	if t == nil {
		return nil, false
	}
	i, ok := t.index[n]
	if !ok {
		return nil, false
	}
	return &t.rows[i], true
}

// Suspended tells whether n is suspended, listed or not.
func (t *Table) Suspended(n enterprise.Number) bool { return t != nil && t.suspended[n] }

// Len is the number of rows.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.rows)
}
