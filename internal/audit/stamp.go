package audit

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
)

// A time stamp (RFC 3161) is an authority's signature over the note of a checkpoint and the
// time: whoever has the private key of the evidence cannot make an older chain with it. It is
// asked for beside the writer, and what comes is a record of the chain like any other:
//
//	{"seq":9,…,"kind":"timestamp","of":"7","authority":"http://…","token":"<the answer, in base64>",…}
//
// While the authority fails, checkpoints have no time stamp and nothing else happens; each
// later checkpoint is tried until one has it.

const (
	// stampPatience is how long an authority may take to answer.
	stampPatience = 20 * time.Second
	// maxStamp bounds its answer, in bytes.
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-l.finish
		cancel()
	}()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-l.notes:
			now := l.o.Now()
			if !last.IsZero() && now.Sub(last) < l.o.StampEvery {
				continue
			}
			token, err := l.askForStamp(ctx, n)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				l.stampingFails(err)
				continue
			}
			last = now
			l.totals.stamping.Store(nil)
			l.Event(Event{Kind: KindTimestamp, Fields: []Field{
				{"of", strconv.FormatUint(n.seq, 10)},
				{"authority", l.o.StampURL},
				{"token", base64.StdEncoding.EncodeToString(token)},
			}})
		}
	}
}

func (l *Log) stampingFails(err error) {
	text := err.Error()
	if was := l.totals.stamping.Swap(&text); was == nil || *was != text {
		l.o.Log.Warn("checkpoints of the evidence get no time stamps; each one is tried", "cause", text)
	}
}

// askForStamp gives the answer of the authority, which was verified.
func (l *Log) askForStamp(ctx context.Context, n noted) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("asking %s for a time stamp: %w", l.o.StampURL, err)
	}
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return fail(err)
	}
	question, err := timestamp.CreateRequest(strings.NewReader(n.message),
		&timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true, Nonce: nonce})
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, stampPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.o.StampURL, bytes.NewReader(question))
	if err != nil {
		return fail(err)
	}
	r.Header.Set("Content-Type", "application/timestamp-query")
	answer, err := l.o.Client.Do(r)
	if err != nil {
		return fail(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("it answered %d", answer.StatusCode))
	}
	token, err := io.ReadAll(io.LimitReader(answer.Body, maxStamp))
	if err != nil {
		return fail(err)
	}
	stamp, err := openStamp(token, n, nil)
	if err == nil && (stamp.Nonce == nil || stamp.Nonce.Cmp(nonce) != 0) {
		err = errors.New("the answer belongs to another question")
	}
	if err != nil {
		return fail(err)
	}
	return token, nil
}

// openStamp verifies an authority's answer for a note. Without roots, the certificate that is
// in it is believed.
func openStamp(token []byte, n noted, roots *x509.CertPool) (*timestamp.Timestamp, error) {
	stamp, err := timestamp.ParseResponse(token)
	if err != nil {
		return nil, errors.New("the answer is no time stamp, or its signature does not verify")
	}
	sum := sha256.Sum256([]byte(n.message))
	if stamp.HashAlgorithm != crypto.SHA256 || !bytes.Equal(stamp.HashedMessage, sum[:]) {
		return nil, errors.New("the time stamp is that of something else")
	}
	signed, err := pkcs7.Parse(stamp.RawToken)
	if err == nil && len(signed.Signers) != 1 {
		err = errors.New("it has not one signature")
	}
	if err == nil {
		err = signed.VerifyWithOpts(x509.VerifyOptions{
			Roots: rootsFor(roots, signed), CurrentTime: stamp.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
		})
	}
	if err != nil {
		return nil, errors.New("the time stamp does not verify: it was changed, " +
			"or its certificate leads to none of the authorities")
	}
	return stamp, nil
}

// rootsFor believes the certificates of the token itself, where no roots are given.
func rootsFor(roots *x509.CertPool, signed *pkcs7.PKCS7) *x509.CertPool {
	if roots != nil {
		return roots
	}
	roots = x509.NewCertPool()
	for _, c := range signed.Certificates {
		roots.AddCert(c)
	}
	return roots
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
		return nil
	}
	if f.Of <= v.first.seq {
		return nil // of a record that is not here
	}
	for _, of := range v.noted {
		if of.seq != f.Of {
			continue
		}
		stamp, err := openStamp(f.Token, of, v.roots)
		if err != nil {
			v.find(file, n, l.seq, "of the time stamp of seq %d: %v", f.Of, err)
			return nil
		}
		v.report.Timestamps++
		if at, err := time.Parse(time.RFC3339Nano, of.time); err == nil && stamp.Time.Sub(at).Abs() > ahead {
			v.report.Notes = append(v.report.Notes, Finding{file, n, l.seq, fmt.Sprintf(
				"seq %d says %s, and the authority stamped it at %s: the clock was wrong",
				f.Of, of.time, stamp.Time.UTC().Format(time.RFC3339))})
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
