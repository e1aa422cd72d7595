package config

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Audit is the evidence of who read or changed what, for whom. Without a directory
// there is none.
type Audit struct {
	// Dir is the directory of the evidence, on a disk that survives the process. Each
	// replica writes into a directory of its own name in it. Default none: no evidence
	// is kept. It cannot change while the gateway runs.
	Dir string `yaml:"dir" config:"path,blank"`
	// Replica is this replica's name: letters, digits, "-", "_" and ".". Two that run
	// at once must not share one. Default: the name of the host, or of the pod.
	Replica string `yaml:"replica" config:"name,blank"`
	// KeyFile holds the Ed25519 key that signs, in PEM. Default: one that is made at the
	// first start and lies beside the evidence; whoever can read it could sign other
	// evidence, so a mounted secret is better.
	KeyFile string `yaml:"keyFile" config:"file,blank"`
	// Checkpoints is where signed records go besides the evidence, so that they leave the
	// machine at once: a file, or stdout. Default none. Without them nobody can tell that
	// the end of the evidence was cut off together with the file of them beside it.
	Checkpoints string `yaml:"checkpoints" config:"output,blank"`
	// CheckpointEvery is the longest time between two signatures.
	CheckpointEvery time.Duration `yaml:"checkpointEvery" above:"0s" default:"1m"`
	// TimestampURL is a time-stamping authority (RFC 3161) that signs the time of a checkpoint.
	// Default none. While it fails, evidence is kept without.
	TimestampURL string `yaml:"timestampUrl" config:"url,blank"`
	// TimestampEvery is how often a checkpoint gets a time stamp.
	TimestampEvery time.Duration `yaml:"timestampEvery" above:"0s" default:"1h"`
	// SegmentSize is the size at which a file of the evidence is ended, as it is with each
	// day. At least 1MB.
	SegmentSize Size `yaml:"segmentSize" least:"1MB" default:"64MB"`
	// KeepYears is how many years evidence is kept beyond the 1 January after it.
	// The federation asks 10 of those who serve e-Box.
	KeepYears int `yaml:"keepYears" least:"1" default:"10"`
	// StopAfter is how long evidence may fail to be written before requests are refused with
	// 503: a duration, 0s for at once, or never. Until then records wait in memory and writes
	// go out without their intent on disk. If the memory for them is used up sooner, requests
	// that would be recorded are refused from there on. With never, records are lost instead.
	// Danger: `never` lets reads and writes go on of which nothing is proven.
	StopAfter StopAfter `yaml:"stopAfter" default:"4h"`
}

// DefaultAudit is what an empty section says.
func DefaultAudit() Audit { return withDefaults[Audit]() }

// StopAfter is a duration, or never.
type StopAfter time.Duration

// StopNever is the StopAfter of a gateway that goes on without evidence.
const StopNever StopAfter = -1

func parseStopAfter(s string) (StopAfter, error) {
	if s == "never" {
		return StopNever, nil
	}
	d, err := parseDuration(s)
	if err != nil {
		return 0, errors.New(strings.Replace(err.Error(), "is no duration: write", "is no duration: write never, or", 1))
	}
	return StopAfter(d), nil
}

func (a *Audit) check(k *check) {
	for _, key := range k.shapeOf(reflect.TypeFor[Audit]()).names {
		if at := "audit." + key; a.Dir == "" && k.given(at) && !k.given("audit.dir") {
			k.fail(at, "there is no audit.dir, so no evidence is kept: add it or leave this out")
		}
	}
}

// Tracing sends traces to a collector over OTLP/HTTP. Without an endpoint there are
// none, and they cost nothing.
type Tracing struct {
	// Endpoint is the collector's URL, https://collector.example.be:4318; without a
	// path it is /v1/traces. It is called directly, never through egress.proxy.
	// Traces hold no token, query, enterprise or citizen; they hold routes, providers,
	// statuses, times and trace ids. Default none.
	Endpoint *url.URL `yaml:"endpoint"`
	// HeadersFile holds header lines, "Authorization: Bearer …", that are sent to
	// the collector with each batch. Default none.
	HeadersFile string `yaml:"headersFile" config:"file,blank"`
	// SampleRatio is the part of the requests that are traced, 0 to 1, if the caller's
	// traceparent does not say whether this one is.
	SampleRatio float64 `yaml:"sampleRatio" most:"1" default:"0.1"`
	// CAFile holds, in PEM, certificate authorities trusted for the collector
	// besides the system's.
	CAFile string `yaml:"caFile" config:"file,blank"`
	// ServiceName is service.name in the traces.
	ServiceName string `yaml:"serviceName" default:"ebox-gateway"`
	// AllowHTTP sends the headers of headersFile over plain http beyond this machine. Default
	// false.
	// Danger: Whoever is on the way reads the collector's credentials.
	AllowHTTP bool `yaml:"allowHttp"`
}

func (t *Tracing) check(k *check) {
	if t.Endpoint == nil {
		if k.given("tracing") && !k.given("tracing.endpoint") {
			k.fail("tracing", "there is no tracing.endpoint, so there is nowhere to send traces: add it or leave tracing out")
		}
		return
	}
	if t.HeadersFile != "" && t.Endpoint.Scheme == "http" && !IsLoopbackHost(t.Endpoint.Hostname()) && !t.AllowHTTP {
		k.fail("tracing.endpoint", "the headers of headersFile travel over https only: write https://, or "+
			"tracing.allowHttp: true in a lab")
	}
}
