package server

import (
	"io"
	"net/http"
	"time"
)

// patientBody is a request's body whose caller may pause for the patience and no
// longer. Progress renews it: a slow but honest upload is never cut.
type patientBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	until    time.Time
}

// patient gives r a patientBody, if it has a body at all.
func patient(w http.ResponseWriter, r *http.Request, patience time.Duration) {
	if patience > 0 && r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		r.Body = &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), patience: patience}
	}
}

func (b *patientBody) Read(p []byte) (int, error) {
	// The deadline is moved when an eighth of it has passed, not for every read.
	if now := time.Now(); b.until.Sub(now) < b.patience*7/8 {
		b.until = now.Add(b.patience)
		if err := b.control.SetReadDeadline(b.until); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		// The server reads on, to learn whether the caller is still there.
		b.until = time.Time{}
		if err := b.control.SetReadDeadline(b.until); err != nil {
			return n, err
		}
	}
	return n, err
}
