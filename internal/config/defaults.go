package config

import (
	"time"

	"ebox-gateway/internal/ebox"
)

// defaults is the configuration before the file has its say.
func defaults() *Config {
	return &Config{
		Server: Server{
			Listen: Listeners{{Name: "127.0.0.1:8080", Address: "127.0.0.1:8080"}},
			Limits: Limits{
				MaxHeaderBytes:     64 << 10,
				MaxTargetBytes:     16 << 10,
				MaxQueryParameters: 1000,
				MaxConnections:     10_000,
				MaxRequests:        5_000,
				MaxStreams:         250,
				ReadHeaderTimeout:  10 * time.Second,
				IdleTimeout:        2 * time.Minute,
				BodyIdleTimeout:    time.Minute,
				MinBodyRate:        16 << 10,
			},
			Drain: Drain{Delay: 5 * time.Second, Timeout: 30 * time.Second},
		},
		Admin:    Admin{Listen: Listeners{{Name: "127.0.0.1:9090", Address: "127.0.0.1:9090"}}},
		OAuth:    OAuth{Timeout: 10 * time.Second},
		Tenancy:  Tenancy{Mode: Listed},
		Registry: Registry{Refresh: 5 * time.Minute, Fields: OfficialFields()},
		Inbox:    Inbox{Timeout: 10 * time.Second},
		Redis:    Redis{Timeout: 25 * time.Millisecond, Replicas: 3},
		Cache:    Memory{Memory: 64e6},
		Log:      Log{Format: LogJSON, Level: LogInfo},
		Audit: Audit{CheckpointEvery: time.Minute, TimestampEvery: time.Hour, SegmentSize: 64e6, KeepYears: 10,
			StopAfter: StopAfter(4 * time.Hour)},
		Tracing: Tracing{SampleRatio: 0.1, ServiceName: "ebox-gateway"},
	}
}

func (c *Client) setDefaults() { c.AssertionLifetime = time.Minute }

func (c *Caller) setDefaults() {
	c.May = ebox.All
	c.Class = Interactive
}

func (p *StaticProvider) setDefaults() { p.APIVersion = "3" }

// newRoute gives a route of a kind before the file, or the environment, has its
// say.
func newRoute(kind Kind) Route {
	r := Route{
		Kind:       kind,
		Enterprise: Optional,
		Methods:    []string{"GET", "POST", "PUT", "PATCH", "DELETE"},
		Timeouts:   Timeouts{Connect: 3 * time.Second, Header: 30 * time.Second, Idle: time.Minute},
		Retry:      Retry{Tries: 3},
		Breaker: Breaker{Enabled: true, FailureRatio: 0.5, MinRequests: 20, Window: 30 * time.Second,
			Open: 15 * time.Second},
		Concurrency: Concurrency{Max: 200, Share: 0.5, Queue: 1000, Wait: time.Second},
		Cache:       Cache{CachePolicy: CachePolicy{Shared: SharedNever}, MaxBody: 1e6},
		MaxBody:     Unlimited,

		RewriteLinks:   true,
		IdempotencyKey: KeyAdded,
	}
	switch kind {
	case KindEBox:
		r.Enterprise = Required
		r.Cache.Enabled = true
	case KindRegistry:
		r.Enterprise = None
		r.Methods = []string{"GET"}
		r.Cache.Enabled = true
	case KindMandates:
		r.MaxBody = 1e6
	}
	return r
}
