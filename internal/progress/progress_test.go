package progress_test

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/progress"
)

type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func TestAShortCommandShowsNothing(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	var out strings.Builder
	r := progress.New(progress.Options{W: &out, Terminal: true, What: "verifying", Total: 10, Now: c.now})
	c.Time = c.Add(time.Second)
	r.Add(10)
	r.Clear()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

func TestATerminalShowsWhatIsLeftInOneLine(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	var out strings.Builder
	r := progress.New(progress.Options{W: &out, Terminal: true, What: "verifying", Total: 40e6,
		Amount: progress.Bytes, Now: c.now})
	c.Time = c.Add(5 * time.Second)
	r.Add(10e6)
	r.Add(1) // too soon for another report
	c.Time = c.Add(time.Second)
	r.Add(2e6 - 1)
	r.Clear()
	want := "\rverifying: 10.0 MB of 40.0 MB done (25 %), 30.0 MB left, 2.0 MB/s, 15s to go\x1b[K" +
		"\rverifying: 12.0 MB of 40.0 MB done (30 %), 28.0 MB left, 2.0 MB/s, 14s to go\x1b[K\r\x1b[K"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestElsewhereALineAMinuteIsWritten(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	var out strings.Builder
	r := progress.New(progress.Options{W: &out, What: "asking", Now: c.now})
	for range 120 {
		c.Time = c.Add(time.Second)
		r.Add(1)
	}
	r.Clear()
	if want := "asking: 60 done, 1/s\nasking: 120 done, 1/s\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestNoReporterShowsNothing(t *testing.T) {
	var r *progress.Reporter
	r.Add(1)
	r.Clear()
}
