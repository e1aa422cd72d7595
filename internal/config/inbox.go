package config

import "time"

// Inbox is the e-Box over all Document Providers: /ebox and /ebox/messages without a
// provider in the path.
type Inbox struct {
	// Timeout is how long the providers are waited for, all together. What has come by
	// then is answered, and the others are named in the answer. A caller should be
	// ready to wait a second longer. Changes (PATCH) are bound by the route's timeouts
	// alone. Default 10s.
	Timeout time.Duration `yaml:"timeout" above:"0s"`
}
