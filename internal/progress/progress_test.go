package progress_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/progress"
)

func TestHowFarACommandIs(t *testing.T) {
	step := func(r *progress.Reporter, takes time.Duration, n int64) {
		time.Sleep(takes)
		r.Add(n)
	}
	for name, c := range map[string]struct {
		terminal bool
		total    int64
		amount   func(int64) string
		work     func(*progress.Reporter)
		want     string
	}{
		"a short command shows nothing": {true, 10, nil, func(r *progress.Reporter) { step(r, time.Second, 10) }, ""},
		"a terminal shows what is left in one line": {true, 40e6, progress.Bytes, func(r *progress.Reporter) {
			step(r, 5*time.Second, 10e6)
			step(r, 0, 1) // too soon for another report
			step(r, time.Second, 2e6-1)
		}, "\rdoing: 10.0 MB of 40.0 MB done (25 %), 30.0 MB left, 2.0 MB/s, 15s to go\x1b[K" +
			"\rdoing: 12.0 MB of 40.0 MB done (30 %), 28.0 MB left, 2.0 MB/s, 14s to go\x1b[K\r\x1b[K"},
		"elsewhere a line a minute is written": {false, 0, nil, func(r *progress.Reporter) {
			for range 120 {
				step(r, time.Second, 1)
			}
		}, "doing: 60 done, 1/s\ndoing: 120 done, 1/s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				r := progress.New(progress.Options{W: &out, Terminal: c.terminal, What: "doing", Total: c.total, Amount: c.amount})
				c.work(r)
				r.Clear()
				if out.String() != c.want {
					t.Errorf("%q", out.String())
				}
			})
		})
	}
}
