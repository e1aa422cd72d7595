package config

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestAuditIsReadAsItIsWritten(t *testing.T) {
	const base = "environment: production\noauth: {clients: {office: {clientId: abc, keystore: {file: client.p12}}}}\n"
	for _, c := range []struct {
		name, text string
		want       Audit
	}{
		{"nothing", "", Audit{CheckpointEvery: time.Minute, TimestampEvery: time.Hour, SegmentSize: 64e6, KeepYears: 10,
			StopAfter: StopAfter(4 * time.Hour)}},
		{
			"all", "audit: {dir: e, replica: r-1, keyFile: /k.pem, checkpoints: stdout, checkpointEvery: 10s, timestampUrl: " +
				"http://tsa.example.be, timestampEvery: 2h, segmentSize: 2MB, keepYears: 12, stopAfter: 0s}",
			Audit{Dir: "e", Replica: "r-1", KeyFile: "/k.pem", Checkpoints: "stdout", CheckpointEvery: 10 * time.Second,
				TimestampURL: "http://tsa.example.be", TimestampEvery: 2 * time.Hour, SegmentSize: 2e6, KeepYears: 12},
		},
		{
			"never", "audit: {dir: /e, checkpoints: cp, stopAfter: never}",
			Audit{Dir: "/e", Checkpoints: "cp", CheckpointEvery: time.Minute, TimestampEvery: time.Hour, SegmentSize: 64e6,
				KeepYears: 10, StopAfter: StopNever},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, p := range []*string{&c.want.Dir, &c.want.Checkpoints} {
				if *p != "" && *p != "stdout" && !filepath.IsAbs(*p) {
					*p = filepath.Join(dir, *p)
				}
			}
			cfg, err := Parse("test.yaml", []byte(base+c.text), dir, func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Audit != c.want {
				t.Errorf("%+v, want %+v", cfg.Audit, c.want)
			}
			if slices.Contains(cfg.Files(), cfg.Audit.Dir) && c.want.Dir != "" {
				t.Error("what is written is watched as if it were read")
			}
		})
	}
}
