package gateway_test

import (
	"fmt"
	"net/url"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// What one client got with one set of scopes is given to no other, also not by a configuration in
// which its name is another's.
func TestAnswersAreKeptByClientAndScopes(t *testing.T) {
	sim, dir := lab.Simulator(t, simulator.Options{}), lab.Dir(t)
	const demo = "demo: {clientId: demo-office, enterprise: 0406798006, keystore: {file: client.p12, password: demo}}"
	const client = "{clientId: %s, keystore: {file: client.p12, password: demo}}"
	seen := make(map[call.Partition]bool)
	for _, id := range []string{"1", "2"} {
		clients := fmt.Sprintf("a: "+client+"\n    b: "+client, "office-"+id, "office-3"+id)
		_, gw := lab.New(t, lab.Config(t, sim, demo, clients, "tenancy:\n", "tenancy:\n  defaultClient: a\n"), dir)
		view := gw.View()
		for _, c := range []call.Call{
			{Client: "a", Method: "GET", Segments: ebox.Segments("/ebox/messages")},
			{Client: "a", Method: "POST", Segments: ebox.Segments("/publishMessage")},
			{Client: "b", Method: "GET", Segments: ebox.Segments("/ebox/messages")},
		} {
			to, err := view.Assume(0, &url.URL{Scheme: "https", Host: "upstream.example"}, &c)
			testkit.Must(t, err)
			seen[to.Keep.Partition] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("six rights have %d partitions: %v", len(seen), seen)
	}
}
