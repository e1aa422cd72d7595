// Package progress shows the person who waits for a long command how far it is.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// quiet is how long a command shows nothing: most are done by then.
	quiet = 2 * time.Second
	// onTerminal and elsewhere are the pauses between two reports.
	onTerminal = 200 * time.Millisecond
	elsewhere  = time.Minute
)

// Options are what a Reporter is made of.
type Options struct {
	// W receives the reports, usually standard error. Terminal reports whether it is a terminal
	// (IsTerminal).
	W        io.Writer
	Terminal bool
	// What names the work, as "verifying". Total is how much there is to do, 0 if that is
	// not known.
	What  string
	Total int64
	// Amount writes a quantity, as Bytes does. Default: the plain number.
	Amount func(int64) string
}

// Reporter shows what is done, what is left, the rate and the time to go: on a terminal in
// one line that is rewritten, elsewhere (a file, a journal) in a line a minute. It is safe for
// concurrent use.
type Reporter struct {
	Options
	mu    sync.Mutex
	done  int64
	began time.Time
	next  time.Time // of the next report
	shown bool      // a line stands on the terminal
}

// New begins to measure.
func New(o Options) *Reporter {
	if o.Amount == nil {
		o.Amount = func(n int64) string { return fmt.Sprint(n) }
	}
	r := &Reporter{Options: o, began: time.Now()}
	r.next = r.began.Add(elsewhere)
	if o.Terminal {
		r.next = r.began.Add(quiet)
	}
	return r
}

// Add counts n more as done, and reports if it is time to.
func (r *Reporter) Add(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	now := time.Now()
	if now.Before(r.next) {
		return
	}
	if r.Terminal {
		r.next = now.Add(onTerminal)
		r.shown = true
		// To the first column, and the rest of the line before erased (ECMA-48, EL).
		fmt.Fprintf(r.W, "\r%s\x1b[K", r.text(now))
		return
	}
	r.next = now.Add(elsewhere)
	fmt.Fprintln(r.W, r.text(now))
}

// Clear takes the line off the terminal: call it at the end, and before other output.
func (r *Reporter) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown {
		fmt.Fprint(r.W, "\r\x1b[K")
		r.shown = false
	}
}

func (r *Reporter) text(now time.Time) string {
	seconds := now.Sub(r.began).Seconds()
	rate := float64(r.done) / max(seconds, 0.001)
	if r.Total <= 0 {
		return fmt.Sprintf("%s: %s done, %s/s", r.What, r.Amount(r.done), r.Amount(int64(rate)))
	}
	left := max(r.Total-r.done, 0)
	toGo := "unknown"
	if rate > 0 {
		toGo = time.Duration(float64(left) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s: %s of %s done (%d %%), %s left, %s/s, %s to go", r.What, r.Amount(r.done), r.Amount(r.Total),
		min(100*r.done/r.Total, 100), r.Amount(left), r.Amount(int64(rate)), toGo)
}

// Bytes writes a number of bytes, in decimal units.
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// IsTerminal reports whether what is written to w is seen by a person at once.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
