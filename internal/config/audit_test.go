package config

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestAuditIsReadAsItIsWritten(t *testing.T) {
	dir := t.TempDir()
	defaults := Audit{CheckpointEvery: time.Minute, TimestampEvery: time.Hour, SegmentSize: 64e6, KeepYears: 10,
		StopAfter: StopAfter(4 * time.Hour)}
	never := defaults
	never.Dir, never.Checkpoints, never.StopAfter = "/e", filepath.Join(dir, "cp"), StopNever
	for text, want := range map[string]Audit{
		"": defaults,
		"audit: {dir: e, replica: r-1, keyFile: /k.pem, checkpoints: stdout, checkpointEvery: 10s, timestampUrl: " +
			"http://tsa.example.be, timestampEvery: 2h, segmentSize: 2MB, keepYears: 12, stopAfter: 0s}": {
			Dir: filepath.Join(dir, "e"), Replica: "r-1", KeyFile: "/k.pem", Checkpoints: "stdout",
			CheckpointEvery: 10 * time.Second, TimestampURL: "http://tsa.example.be", TimestampEvery: 2 * time.Hour,
			SegmentSize: 2e6, KeepYears: 12,
		},
		"audit: {dir: /e, checkpoints: cp, stopAfter: never}": never,
	} {
		c, err := Parse("test.yaml", []byte(minimal+text), dir, environment)
		if err != nil {
			t.Fatal(err)
		}
		if c.Audit != want {
			t.Errorf("%q is %+v, want %+v", text, c.Audit, want)
		}
		if want.Dir != "" && slices.Contains(c.Files(), c.Audit.Dir) {
			t.Error("what is written is watched as if it were read")
		}
	}
}
