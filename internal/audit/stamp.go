package audit

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/notaryproject/tspclient-go"

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
	// mostNoted is how many signed records may stand between one and its time stamp.
	mostNoted = 1024
)

// noted is the signed note of a record.
type noted struct {
	seq     uint64
	time    string
	message string
}

// stamp has time stamps made until the log is closed.
func (l *Log) stamp() {
	var last time.Time
	for {
		select {
		case <-l.open.Done():
			return
		case n := <-l.notes:
			now := l.o.Now()
			if !last.IsZero() && now.Sub(last) < l.o.StampEvery {
				continue
			}
			answer, err := l.askForStamp(n)
			if l.open.Err() != nil {
				return
			}
			if err == nil {
				last = now
				l.Event(KindTimestamp, map[string]string{
					"of":        strconv.FormatUint(n.seq, 10),
					"authority": l.o.StampURL,
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
		now = printable.Text(err.Error(), maxDetail) // some of it is the authority's
	}
	l.note(func(s *Status) { before, s.Stamping = s.Stamping, now })
	switch {
	case before != "" && now == "":
		l.o.Log.Info("checkpoints of the evidence get time stamps again", "authority", l.o.StampURL)
	case before == "" && now != "":
		l.o.Log.Warn("checkpoints of the evidence get no time stamps; each one is tried", "cause", now)
	}
}

// askForStamp gives the answer of the authority, which was verified.
func (l *Log) askForStamp(n noted) (answer []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("asking %s for a time stamp: %w", l.o.StampURL, err)
		}
	}()
	ctx, cancel := context.WithTimeout(l.open, stampPatience)
	defer cancel()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	authority, err := tspclient.NewHTTPTimestamper(client, l.o.StampURL)
	if err != nil {
		return nil, err
	}
	question, err := tspclient.NewRequest(tspclient.RequestOptions{
		Content: []byte(n.message), HashAlgorithm: crypto.SHA256,
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
	_, err = openStamp(answer, n, nil)
	return answer, err
}

var errStamp = errors.New("the time stamp does not verify: it was changed, " +
	"or its certificate leads to none of the authorities")

// openStamp verifies an authority's answer for a note, and gives the time that it says. Without
// roots, the certificates in it are believed.
func openStamp(answer []byte, n noted, roots *x509.CertPool) (time.Time, error) {
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
		for _, c := range token.Certificates {
			roots.AddCert(c)
		}
	}
	// The library looks at the certificate's purpose and at ESSCertIDv2 (RFC 5816) too.
	options := x509.VerifyOptions{Roots: roots, CurrentTime: info.GenTime}
	if _, err := token.Verify(context.Background(), options); err != nil {
		return time.Time{}, errStamp
	}
	stamp, err := info.Validate([]byte(n.message))
	if err != nil {
		return time.Time{}, errors.New("the time stamp is that of something else")
	}
	return stamp.Value, nil
}

// note keeps the note of a signed record for its time stamp.
func (v *verifier) note(l *line) {
	if len(l.signature) != noteSignature {
		return // format 1 had no notes
	}
	if len(v.noted) == mostNoted {
		v.noted = append(v.noted[:0], v.noted[mostNoted/2:]...)
	}
	v.noted = append(v.noted, noted{l.seq, l.time, messageOf(v.replica, l)})
}

// stamp verifies a time stamp.
func (v *verifier) stamp(file string, n int, l *line, text []byte) error {
	var f struct {
		Of    uint64 `json:"of,string"`
		Token []byte `json:"token"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		v.find(file, n, l.seq, "this time stamp cannot be read")
		return nil //nolint:nilerr // it is a finding
	}
	if f.Of <= v.chain.first.seq {
		return nil // of a record that is not here
	}
	for _, of := range v.noted {
		if of.seq != f.Of {
			continue
		}
		stamped, err := openStamp(f.Token, of, v.roots)
		if err != nil {
			v.find(file, n, l.seq, "of the time stamp of seq %d: %v", f.Of, err)
			return nil
		}
		v.report.Timestamps++
		if at, err := time.Parse(time.RFC3339Nano, of.time); err == nil && stamped.Sub(at).Abs() > ahead {
			v.report.Notes = append(v.report.Notes, Finding{file, n, l.seq, fmt.Sprintf(
				"seq %d says %s, and the authority stamped it at %s: the clock was wrong",
				f.Of, of.time, stamped.UTC().Format(time.RFC3339))})
		}
		name := fmt.Sprintf("%s%012d", stampPrefix, f.Of)
		return errors.Join(v.bundle.add(name+".note", []byte(of.message)), v.bundle.add(name+".tsr", f.Token))
	}
	v.find(file, n, l.seq, "this is the time stamp of seq %d, which is not a signed record shortly before it", f.Of)
	return nil
}

// LoadAuthorities reads the certificates (PEM) that those of time-stamping authorities lead to.
func LoadAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of time-stamping authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the certificates of time-stamping authorities: %s holds none in PEM", file)
	}
	return pool, nil
}
