package call_test

import (
	"ebox-gateway/internal/call"
	"testing"
)

func TestNewUpstreamRefusesABaseThatCannotBeJoinedTo(t *testing.T) {
	for _, base := range []string{"ftp://h/a", "/a", "https://u:p@h/a", "https://h/a?b", "https://h/a#b",
		"https://h/a/../b", "https://h/a%2fb", "https:///a"} {
		if _, err := call.NewUpstream("x", mustURL(t, base), nil, false); err == nil {
			t.Errorf("%s is accepted", base)
		}
	}
}
