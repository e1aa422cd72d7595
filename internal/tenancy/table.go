package tenancy

import (
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

// NewTable builds a table of the enterprises that the configuration has checked, each of
// which stands in list once, and of the numbers of the suspended files, which need not be in
// list. The table keeps both: they must not change any more.
func NewTable(list []config.Enterprise, suspended map[enterprise.Number]bool) *Table {
	t := &Table{rows: list, index: make(map[enterprise.Number]int32, len(list)), suspended: suspended}
	for i := range list {
		t.index[list[i].Number] = int32(i)
	}
	return t
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
