package audit

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/notaryproject/tspclient-go"

	"ebox-gateway/internal/files"
	"ebox-gateway/internal/printable"
)

// A time stamp (RFC 3161) is an authority's signature over the note of a checkpoint and the
// time: whoever has the private key of the evidence cannot make an older chain with it. It is
// asked for beside the writer, and what comes is a record of the chain like any other:
//
//	{"seq":9,…,"kind":"timestamp","of":"7","authority":"http://…","token":"<the answer, in base64>",…}
//
// The protocol is that of tspclient-go of the Notary Project, which is released, tested against
// the RFCs and needs nothing but the standard library; digitorus/timestamp stands on a pkcs7 of
// 2023. While the authority fails, checkpoints have no time stamp and nothing else happens; each
// later checkpoint is tried until one has it.

const (
	// stampPatience is how long an authority may take to answer.
	stampPatience = time.Minute
	// maxStamp bounds its answer, in bytes: in base64 it has to fit in a line.
	maxStamp = 256 << 10
	// maxReason bounds what is told of its failure, in bytes.
	maxReason = 512
)

// stamp has time stamps made until the log is closed.
func (l *Log) stamp() {
	var last time.Time
	for {
		select {
		case <-l.open.Done():
			return
		case c := <-l.notes:
			now := l.o.Now()
			if !last.IsZero() && now.Sub(last) < l.o.TimestampEvery {
				continue
			}
			answer, err := l.askForStamp(c)
			if l.open.Err() != nil {
				return
			}
			if err == nil {
				last = now
				l.Event(KindTimestamp, map[string]string{
					"of":        strconv.FormatUint(c.seq, 10),
					"authority": l.o.TimestampURL,
					"token":     base64.StdEncoding.EncodeToString(answer),
				})
			}
			l.stamped(err)
		}
	}
}

// stamped notes whether the authority gave a time stamp. The log has a line when it begins to
// fail and when it gives them again; the status always has the newest reason.
func (l *Log) stamped(err error) {
	before, now := "", ""
	if err != nil {
		now = printable.Text(err.Error(), maxReason) // some of it is the authority's
	}
	l.note(func(s *Status) { before, s.Stamping = s.Stamping, now })
	switch {
	case before != "" && now == "":
		l.o.Log.Info("checkpoints of the evidence get time stamps again", "authority", l.o.TimestampURL)
	case before == "" && now != "":
		l.o.Log.Warn("checkpoints of the evidence get no time stamps; each one is tried", "cause", now)
	}
}

// askForStamp gives the answer of the authority, which was verified.
func (l *Log) askForStamp(c checkpoint) (answer []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("asking %s for a time stamp: %w", l.o.TimestampURL, err)
		}
	}()
	ctx, cancel := context.WithTimeout(l.open, stampPatience)
	defer cancel()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	authority, err := tspclient.NewHTTPTimestamper(client, l.o.TimestampURL)
	if err != nil {
		return nil, err
	}
	question, err := tspclient.NewRequest(tspclient.RequestOptions{
		Content: []byte(c.note), HashAlgorithm: crypto.SHA256,
	})
	if err != nil {
		return nil, err
	}
	response, err := authority.Timestamp(ctx, question) // the answer belongs to the question
	if err != nil {
		return nil, err
	}
	if answer, err = response.MarshalBinary(); err != nil {
		return nil, err
	}
	if len(answer) > maxStamp {
		return nil, fmt.Errorf("the answer has %d bytes, and at most %d fit in a record", len(answer), maxStamp)
	}
	_, err = openStamp(answer, c, nil)
	return answer, err
}

var errStamp = errors.New("the time stamp does not verify: it was changed, " +
	"or its certificate leads to none of the authorities")

// openStamp verifies an authority's answer for a note, and gives the time that it says. Without
// roots, the certificates in it are trusted.
func openStamp(answer []byte, c checkpoint, roots *x509.CertPool) (time.Time, error) {
	var response tspclient.Response
	if err := response.UnmarshalBinary(answer); err != nil {
		return time.Time{}, errors.New("the answer is no time stamp")
	}
	token, err := response.SignedToken()
	if err != nil {
		return time.Time{}, errors.New("the answer is no time stamp")
	}
	info, err := token.Info()
	if err != nil || len(token.SignerInfos) != 1 {
		return time.Time{}, errStamp
	}
	if roots == nil {
		roots = x509.NewCertPool()
		for _, own := range token.Certificates {
			roots.AddCert(own)
		}
	}
	// The library looks at the certificate's purpose and at ESSCertIDv2 (RFC 5816) too.
	options := x509.VerifyOptions{Roots: roots, CurrentTime: info.GenTime}
	if _, err := token.Verify(context.Background(), options); err != nil {
		return time.Time{}, errStamp
	}
	stamp, err := info.Validate([]byte(c.note))
	if err != nil {
		return time.Time{}, errors.New("the time stamp is that of something else")
	}
	return stamp.Value, nil
}

// LoadAuthorities reads the certificates (PEM) that those of time-stamping authorities lead to.
func LoadAuthorities(file string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	text, err := files.Read(file, files.Most)
	if err == nil {
		err = files.Authorities(pool, text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of time-stamping authorities in %s: %w", file, err)
	}
	return pool, nil
}
