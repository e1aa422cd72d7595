package simulator

import (
	"strings"
	"testing"
)

// What matches a pattern with one variable has as many segments, and something in its place.
func FuzzMatchPath(f *testing.F) {
	f.Add("ebox/messages/1/body")
	f.Add("ebox/messages/%2e%2e/body")
	f.Add("ebox//messages//body/")
	f.Fuzz(func(t *testing.T, path string) {
		args, ok := matchPath(bodyPattern, "/"+path)
		if ok && (len(args) != 1 || args[0] == "" || strings.Count(path, "/") != 3 || !strings.HasSuffix(path, "/body")) {
			t.Fatalf("%q matches with %q", path, args)
		}
	})
}
