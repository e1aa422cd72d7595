package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/wire"
)

// collector sends batches as OTLP/HTTP in protobuf, compressed with gzip. It is the
// otlptrace.Client of the exporter. The library's own client would bring gRPC into the
// program, obey environment variables beside the configuration, and repeat in its errors
// what a collector says, which may be the key that it was sent.
type collector struct {
	url     string
	headers map[string]string
	client  *http.Client
}

const (
	// firstPause and longestPause bound the wait before a batch is sent again; it doubles
	// each time.
	firstPause, longestPause = 500 * time.Millisecond, 2 * time.Second
	// longestReply is what is read of a collector's answer.
	longestReply = 16 << 10
)

// Start implements otlptrace.Client.
func (*collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client. An upload ends with its context.
func (*collector) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client. What the collector may take later (429, 502,
// 503, 504, or no answer) is sent again until ctx is done. Its errors hold no byte of an
// answer.
func (c *collector) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	// TracesData is on the wire what ExportTraceServiceRequest is, whose package needs gRPC.
	batch, err := proto.Marshal(&otlp.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("coding spans: %w", err)
	}
	var body bytes.Buffer
	packed := gzip.NewWriter(&body)
	_, _ = packed.Write(batch) // a Buffer takes everything
	_ = packed.Close()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		wait, err := c.post(ctx, body.Bytes())
		if err == nil || wait < 0 {
			return err
		}
		again := time.NewTimer(max(pause, wait))
		select {
		case <-ctx.Done():
			again.Stop()
			return err
		case <-again.C:
		}
	}
}

// post sends a batch once. After an error, wait is what the collector asks to wait before
// the next time, and negative if there shall be none.
func (c *collector) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("making the request: %w", err)
	}
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	resp, err := c.client.Do(r)
	if err != nil {
		return 0, printable.Error(err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, longestReply))
	switch {
	case resp.StatusCode >= 300:
		err = fmt.Errorf("the collector answered with status %d", resp.StatusCode)
	case err == nil && resp.Header.Get("Content-Type") == "application/x-protobuf":
		if n := rejected(reply); n > 0 {
			err = fmt.Errorf("the collector refused %d spans of the batch", n)
		}
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return wire.RetryAfter(resp.Header, time.Now()), err
	}
	return -1, err
}

// rejected reads rejected_spans of an ExportTraceServiceResponse: field 1 of its field 1.
func rejected(reply []byte) uint64 {
	for number, kind, n := protowire.ConsumeTag(reply); n > 0; number, kind, n = protowire.ConsumeTag(reply) {
		reply = reply[n:]
		switch {
		case number == 1 && kind == protowire.BytesType:
			partial, n := protowire.ConsumeBytes(reply)
			if n < 0 {
				return 0
			}
			return rejected(partial)
		case number == 1 && kind == protowire.VarintType:
			count, _ := protowire.ConsumeVarint(reply)
			return count
		}
		n := protowire.ConsumeFieldValue(number, kind, reply)
		if n < 0 {
			return 0
		}
		reply = reply[n:]
	}
	return 0
}
