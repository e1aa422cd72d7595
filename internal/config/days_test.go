package config

import "testing"

// A day begins and ends at midnight in Brussels, also when it has 23 or 25 hours.
func TestDaysAreBrusselsDays(t *testing.T) {
	for name, c := range map[string]struct{ written, start, end string }{
		"winter":         {"2026-01-31", "2026-01-30T23:00:00Z", "2026-01-31T23:00:00Z"},
		"summer":         {"2026-07-01", "2026-06-30T22:00:00Z", "2026-07-01T22:00:00Z"},
		"spring forward": {"2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"fall back":      {"2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		"leap day":       {"2028-02-29", "2028-02-28T23:00:00Z", "2028-02-29T23:00:00Z"},
		"end of year":    {"2026-12-31", "2026-12-30T23:00:00Z", "2026-12-31T23:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			start, err := parseDay(c.written)
			if err != nil || !start.Equal(day(t, c.start)) {
				t.Errorf("from is %v (%v)", start, err)
			}
			end, err := parseLastDay(c.written)
			if err != nil || !end.Equal(day(t, c.end)) {
				t.Errorf("until is %v (%v)", end, err)
			}
		})
	}
	for _, bad := range []string{"", "2026-02-29", "2026-1-1", "01/02/2026", "2026-01-01T00:00:00Z"} {
		if _, err := parseDay(bad); err == nil {
			t.Errorf("%q is taken for a day", bad)
		}
	}
}
