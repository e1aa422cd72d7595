package config

import "net/url"

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
	// SampleRatio is the part of the requests that are traced, 0 to 1, if the
	// caller's traceparent does not say whether this one is. Default 0.1.
	SampleRatio float64 `yaml:"sampleRatio" most:"1"`
	// CAFile holds, in PEM, certificate authorities trusted for the collector
	// besides the system's.
	CAFile string `yaml:"caFile" config:"file,blank"`
	// ServiceName is service.name in the traces. Default ebox-gateway.
	ServiceName string `yaml:"serviceName"`
	// AllowHTTP sends the headers of headersFile over plain http beyond this machine.
	// Whoever is on the way can then read them. Default false.
	AllowHTTP bool `yaml:"allowHttp"`
}

func (k *check) tracing() {
	t := &k.c.Tracing
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
