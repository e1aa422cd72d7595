package bench_test

import (
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// docs/scale.md says what breaks first of what the manifests ship.
func TestScaleNamesTheSizesOfTheManifests(t *testing.T) {
	document := strings.Join(strings.Fields(testkit.Read(t, "../docs/scale.md")), " ") // wherever a line ends
	for _, c := range []struct{ file, pattern, sentence string }{
		{"base/statefulset.yaml", `limits: \{memory: (\d+)Mi\}`, "They ship $1 MiB"},
		{"overlays/production/kustomization.yaml", `storage, value: (\d+)Gi`, "and $1 GiB for a replica"},
		{"components/redis/redis.conf", `(?m)^maxmemory (\d+)mb`, "$1 MB for Redis"},
		{"components/autoscaling/autoscaler.yaml", `maxReplicas: (\d+)`, "at most $1 replicas"},
	} {
		pattern := regexp.MustCompile(c.pattern)
		size := pattern.FindString(testkit.Read(t, "../k8s/"+c.file))
		if size == "" {
			t.Fatalf("%s has no %s", c.file, pattern)
		}
		if want := pattern.ReplaceAllString(size, c.sentence); !strings.Contains(document, want) {
			t.Errorf("docs/scale.md does not say %q", want)
		}
	}
}
