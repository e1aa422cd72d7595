package audit

import "time"

// WithPatience gives options with which the disk may take some time, and not five seconds, before it
// counts as failing: a machine that stops for a while fails no test.
func WithPatience(o Options, d time.Duration) Options {
	o.patience = d
	return o
}
