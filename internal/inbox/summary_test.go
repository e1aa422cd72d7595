package inbox_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/testkit"
)

func TestASummaryIsOfAllProvidersThatAnswered(t *testing.T) {
	const one = `{"numberOfMessages":3,"numberOfUnreadMessages":1,"lastReceiptDate":"2026-11-20T12:00:00Z","eboxSize":1.5}`
	for other, want := range map[string]string{
		`{"numberOfMessages":4,"numberOfUnreadMessages":2,"lastReceiptDate":"2026-11-20T12:30:00+01:00","eboxSize":2,` +
			`"lastConsultationDate":"2026-11-01T00:00:00Z"}`: "7 3 2026-11-20T12:00:00Z 3.5 2026-11-01T00:00:00Z",
		`{"numberOfMessages":0}`: "3 <nil> 2026-11-20T12:00:00Z <nil> <nil>", // what one of them does not say is not said
		`{"hello":1}`:            "3 1 2026-11-20T12:00:00Z 1.5 <nil> b;reason=malformed",
	} {
		r := summaryOf(t, answers{"a": says(one), "b": says(other)})
		var doc map[string]any
		testkit.Must(t, json.Unmarshal(r.Body, &doc))
		sum := fmt.Sprint(doc["numberOfMessages"], " ", doc["numberOfUnreadMessages"], " ", doc["lastReceiptDate"], " ",
			doc["eboxSize"], " ", doc["lastConsultationDate"])
		if len(r.Missing) > 0 {
			sum += " " + inbox.HeaderOf(r.Missing)
		}
		if sum != want || (doc["incomplete"] != nil) != (len(r.Missing) > 0) {
			t.Errorf("%s: %s, want %s: %s", other, sum, want, r.Body)
		}
	}
}
