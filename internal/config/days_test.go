package config

import "testing"

// A day begins and ends at midnight in Brussels, also when it has 23 or 25 hours.
func TestDaysAreBrusselsDays(t *testing.T) {
	for written, want := range map[string][2]string{
		"2026-01-31": {"2026-01-30T23:00:00Z", "2026-01-31T23:00:00Z"},
		"2026-03-29": {"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"2026-10-25": {"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		"2028-02-29": {"2028-02-28T23:00:00Z", "2028-02-29T23:00:00Z"},
	} {
		start, err := parseDay(written)
		end, errEnd := parseLastDay(written)
		if err != nil || errEnd != nil || !start.Equal(day(t, want[0])) || !end.Equal(day(t, want[1])) {
			t.Errorf("%s is from %v (%v) until %v (%v)", written, start, err, end, errEnd)
		}
	}
	for _, bad := range []string{"", "2026-02-29", "2026-1-1", "01/02/2026", "2026-01-01T00:00:00Z"} {
		if _, err := parseDay(bad); err == nil {
			t.Errorf("%q is taken for a day", bad)
		}
	}
}
