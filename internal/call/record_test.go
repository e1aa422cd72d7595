package call

import (
	"errors"
	"net/http"
	"testing"
)

// What waits for a disk would otherwise hold the header, body and token of thousands of
// requests that have long been answered.
func TestADetachedRecordHoldsNothingOfTheRequest(t *testing.T) {
	c := New()
	c.ID, c.Route, c.Header, c.Body = "id", "route", http.Header{"X": {"1"}}, []byte("body")
	c.Interim, c.To, c.Represented = func(int, http.Header) {}, new(Upstream), []string{"0206731645"}
	c.Record.Status, c.Record.Cause = 200, errors.New("of the log alone")
	d := c.Record.Detached()
	if d.ID != "id" || d.Route != "route" || d.Status != 200 || d.Call.Record != d || d == c.Record {
		t.Errorf("it lost what it is for: %+v", d)
	}
	if d.Header != nil || d.Body != nil || d.Interim != nil || d.To != nil || d.Represented != nil || d.Credential != nil || d.Cause != nil {
		t.Errorf("it holds the request: %+v", d.Call)
	}
	c.Route = "another"
	if d.Route != "route" {
		t.Error("it changes with the call")
	}
}
