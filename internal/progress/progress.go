// Package progress tells the person who waits for a long command how far it is.
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

// Reporter shows what is done, what is left, the rate and the time to go: on a terminal in
// one line that is rewritten, elsewhere (a file, a journal) in a line a minute. A nil
// *Reporter shows nothing. It is safe for concurrent use.
type Reporter struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	what     string
	amount   func(int64) string
	now      func() time.Time
	total    int64
	done     int64
	began    time.Time
	next     time.Time // of the next report
	shown    bool      // a line stands on the terminal
}

// Options are what a Reporter is made of.
type Options struct {
	// W receives the reports, usually standard error. Terminal tells that it is a terminal
	// (IsTerminal).
	W        io.Writer
	Terminal bool
	// What names the work, as "verifying". Total is how much there is to do, 0 if that is
	// not known.
	What  string
	Total int64
	// Amount writes a quantity, as Bytes does. Default: the plain number.
	Amount func(int64) string
	// Now is time.Now if nil.
	Now func() time.Time
}

// New begins to measure.
func New(o Options) *Reporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Amount == nil {
		o.Amount = func(n int64) string { return fmt.Sprint(n) }
	}
	began := o.Now()
	r := &Reporter{
		w: o.W, terminal: o.Terminal, what: o.What, amount: o.Amount, now: o.Now, total: o.Total, began: began,
		next: began.Add(elsewhere),
	}
	if o.Terminal {
		r.next = began.Add(quiet)
	}
	return r
}

// Add counts n more as done, and reports if it is time to.
func (r *Reporter) Add(n int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	now := r.now()
	if now.Before(r.next) {
		return
	}
	if r.terminal {
		r.next = now.Add(onTerminal)
		r.shown = true
		// To the first column, and the rest of the line before erased (ECMA-48, EL).
		fmt.Fprintf(r.w, "\r%s\x1b[K", r.text(now))
		return
	}
	r.next = now.Add(elsewhere)
	fmt.Fprintln(r.w, r.text(now))
}

// Clear takes the line off the terminal: call it at the end, and before other output.
func (r *Reporter) Clear() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown {
		fmt.Fprint(r.w, "\r\x1b[K")
		r.shown = false
	}
}

func (r *Reporter) text(now time.Time) string {
	seconds := now.Sub(r.began).Seconds()
	rate := float64(r.done) / max(seconds, 0.001)
	if r.total <= 0 {
		return fmt.Sprintf("%s: %s done, %s/s", r.what, r.amount(r.done), r.amount(int64(rate)))
	}
	left := max(r.total-r.done, 0)
	toGo := "unknown"
	if rate > 0 {
		toGo = time.Duration(float64(left) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s: %s of %s done (%d %%), %s left, %s/s, %s to go", r.what, r.amount(r.done), r.amount(r.total),
		min(100*r.done/r.total, 100), r.amount(left), r.amount(int64(rate)), toGo)
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
