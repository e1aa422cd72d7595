package config

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestAuditIsReadAsItIsWritten(t *testing.T) {
	defaults := Audit{CheckpointEvery: time.Minute, TimestampEvery: time.Hour, SegmentSize: 64e6, KeepYears: 10,
		StopAfter: StopAfter(4 * time.Hour)}
	if c := parseText(t, minimal); c.Audit != defaults {
		t.Errorf("by default it is %+v", c.Audit)
	}
	dir := t.TempDir()
	c, err := Parse("test.yaml", []byte(minimal+"audit: {dir: e, checkpoints: cp, stopAfter: never}"), dir, environment)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults
	want.Dir, want.Checkpoints, want.StopAfter = filepath.Join(dir, "e"), filepath.Join(dir, "cp"), StopNever
	if c.Audit != want || slices.Contains(c.Files(), want.Dir) { // what is written is not watched
		t.Errorf("%+v, files %v", c.Audit, c.Files())
	}
}
