package status

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
)

func TestAProviderThatRefusesEverybodyIsAboutTheOffice(t *testing.T) {
	for name, c := range map[string]struct {
		minute  activity.Summary
		refused int
		want    bool
	}{
		"all of 120 enterprises":         {activity.Summary{Requests: 40, Refused: 40}, 120, true},
		"one call of 40 succeeds":        {activity.Summary{Requests: 40, Refused: 39}, 120, false},
		"a few whose mandate has ended":  {activity.Summary{Requests: 4, Refused: 4}, 9, false},
		"nobody asked in the minute":     {activity.Summary{}, 120, false},
		"refused before, and well again": {activity.Summary{Requests: 40}, 120, false},
	} {
		text := standing(c.minute, c.refused)
		if (text != "") != c.want || c.want && !strings.Contains(text, "office's own standing") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestAListenersCertificateIsWatched(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		31 * 24 * time.Hour: "",
		29 * 24 * time.Hour: severityNotice,
		6 * 24 * time.Hour:  severityDegraded,
		-time.Minute:        severityFailing,
	} {
		if severity, text := expiring(now.Add(left), now); severity != want || (text == "") != (want == "") {
			t.Errorf("%s before the end: %q, %q", left, severity, text)
		}
	}
}
