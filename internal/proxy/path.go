package proxy

import "net/url"

// CheckPath refuses with a problem (400) a path that an upstream could read
// differently than the gateway does.
func CheckPath(escaped string) error { return nil }

// CheckQuery refuses with a problem (400) a query that does not parse cleanly or
// has more than maxParams parameters.
func CheckQuery(raw string, maxParams int) error { return nil }

// Join appends path to the base URL.
func Join(base *url.URL, path, rawQuery string) (*url.URL, error) { return nil, nil }
