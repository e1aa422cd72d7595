package bench

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md anew")

// What the model of docs/scale.md reckons with. Each is measured by the benchmark
// that is named beside it, rounded upwards; the tables of the document are made from
// them and from the sizes in k8s, so that neither can be changed alone.
const (
	pollCPU       = 1.4e-3 // seconds of a core for a poll over five providers (Rate/10x; Poll)
	redisCommands = 68     // a poll, the first time (Poll/first); 25 to 31 when nothing is new
	redisCPU      = 250e-6 // seconds of Redis' core for a poll (Poll/first)
	redisAnswer   = 1000   // bytes that an answer of 2 KB takes there, compressed and sealed (Poll/first)
	heapEach      = 300    // bytes for a represented enterprise (Enterprises)
	peakEach      = 740    // bytes for each, while a file of them is read (Enterprises)
	resident      = 32e6   // bytes of a gateway that knows a thousand (Enterprises)
	evidenceBytes = 4060   // for a poll: one record for each provider that was read (Poll)
	compressed    = 7      // times that it is smaller once its file is ended (the file of Poll; Compress)
	compressCPU   = 60e-6  // seconds of a core to compress that of a poll, in the background (Compress)
	logBytes      = 4220   // for a poll: an access line for it and one for each provider (Poll)
	cacheMemory   = 64e6   // bytes, the default of cache.memory
)

// What is assumed, as nothing here can measure it.
const (
	distanceOfProvider = 0.1 // seconds that a provider takes to answer
	batchShare         = 0.7 // of a bulkhead that callers of class batch may fill
	bulkhead           = 200 // the default of concurrency.max
	office             = 100_000
	fullCore           = 0.7 // of a core, where the autoscaler adds a replica
)

// shipped are the sizes of the manifests in k8s.
type shipped struct {
	memory, volume, redisMemory float64 // bytes
	replicas                    float64 // at most
}

func readShipped(t *testing.T) shipped {
	t.Helper()
	one := func(file, pattern string) float64 {
		content, err := os.ReadFile("../k8s/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(content)
		if found == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return shipped{
		memory:      one("base/statefulset.yaml", `limits: \{memory: (\d+)Mi\}`) * (1 << 20),
		volume:      one("overlays/production/kustomization.yaml", `storage, value: (\d+)Gi`) * (1 << 30),
		redisMemory: one("components/redis/redis.conf", `(?m)^maxmemory (\d+)mb`) * (1 << 20),
		replicas:    one("components/autoscaling/autoscaler.yaml", `maxReplicas: (\d+)`),
	}
}

// demand is what a load asks for.
type demand struct {
	enterprises, polls                    float64 // in all; a second
	cores, replicas                       float64
	memory                                float64 // bytes of each replica, while its list is replaced
	redisCommands, redisCores, redisBytes float64
	evidence, kept, log                   float64 // bytes a day, of all replicas: as written, as kept
	days                                  float64 // until the shipped volume of a replica is full
	parallel                              float64 // calls under way to one provider, from one replica
}

// demandOf reckons with an hourly poll of every enterprise.
func demandOf(enterprises float64, s shipped) demand {
	d := demand{enterprises: enterprises, polls: enterprises / 3600}
	d.cores = d.polls * (pollCPU + compressCPU)
	d.replicas = max(3, math.Ceil(d.cores/fullCore))
	// The old list, the new one while it is read, and the cache with what the collector
	// lets it grow by.
	d.memory = resident + enterprises*(heapEach+peakEach) + 2*cacheMemory
	d.redisCommands, d.redisCores = d.polls*redisCommands, d.polls*redisCPU
	d.redisBytes = enterprises * federation * redisAnswer
	d.evidence, d.log = d.polls*86400*evidenceBytes, d.polls*86400*logBytes
	d.kept = d.evidence / compressed
	d.days = s.volume / (d.kept / d.replicas)
	d.parallel = d.polls * distanceOfProvider / d.replicas
	return d
}

// strain is how much of what is shipped a load takes; 1 is all of it.
type strain struct {
	what string
	part float64
}

// strains are sorted, what breaks first in front.
func (d demand) strains(s shipped) []strain {
	const keptDays = 30 // before evidence has to be somewhere else
	list := []strain{
		{"evidence volume, thirty days", keptDays / d.days},
		{"memory of a replica", d.memory / s.memory},
		{"memory of Redis", d.redisBytes / s.redisMemory},
		{"a core for Redis", d.redisCores},
		{"replicas", d.replicas / s.replicas},
		{"bulkhead of a provider", d.parallel / (bulkhead * batchShare)},
	}
	slices.SortStableFunc(list, func(a, b strain) int { return cmp.Compare(b.part, a.part) })
	return list
}

var times = []float64{1, 10, 100, 1000}

// demandTable shows what each load asks for.
func demandTable(s shipped) string {
	var demands []demand
	for _, n := range times {
		demands = append(demands, demandOf(n*office, s))
	}
	var b strings.Builder
	row := func(name string, value func(demand) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, d := range demands {
			fmt.Fprintf(&b, " %s |", value(d))
		}
		b.WriteByte('\n')
	}
	b.WriteString("| | 1× | 10× | 100× | 1,000× |\n|---|---|---|---|---|\n")
	row("enterprises, each polled once an hour", func(d demand) string { return number(d.enterprises) })
	row("polls a second", func(d demand) string { return number(d.polls) })
	row("calls a second, to each of five providers", func(d demand) string { return number(d.polls) })
	row("cores of all gateways", func(d demand) string { return number(d.cores) })
	row("replicas of one core", func(d demand) string { return number(d.replicas) })
	row("memory of a replica", func(d demand) string { return size(d.memory) })
	row("Redis: commands a second", func(d demand) string { return number(d.redisCommands) })
	row("Redis: cores", func(d demand) string { return number(d.redisCores) })
	row("Redis: memory, to keep every answer for an hour", func(d demand) string { return size(d.redisBytes) })
	row("evidence written a day", func(d demand) string { return size(d.evidence) })
	row("evidence kept of a day, compressed", func(d demand) string { return size(d.kept) })
	row("evidence in ten years", func(d demand) string { return size(d.kept * 3652) })
	row("access log a day", func(d demand) string { return size(d.log) })
	row("a replica's volume is full after", func(d demand) string { return duration(d.days) })
	return b.String()
}

// strainTable shows in which order the shipped sizes are too small.
func strainTable(s shipped) string {
	var b strings.Builder
	b.WriteString("| | first | then | then |\n|---|---|---|---|\n")
	for _, n := range times {
		fmt.Fprintf(&b, "| %s× |", number(n))
		for _, x := range demandOf(n*office, s).strains(s)[:3] {
			fmt.Fprintf(&b, " %s: %s |", x.what, share(x.part))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// share is a part of what is shipped.
func share(part float64) string {
	if part < 2 {
		return fmt.Sprintf("%.0f %%", part*100)
	}
	return number(part) + " times"
}

// number writes two significant digits, thousands parted.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 1 - int(math.Floor(math.Log10(v)))
	scale := math.Pow10(digits)
	v = math.Round(v*scale) / scale
	s := strconv.FormatFloat(v, 'f', max(digits, 0), 64)
	if strings.Contains(s, ".") {
		return strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(v float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return number(v) + " " + units[i]
}

func duration(days float64) string {
	switch {
	case days >= 1:
		return number(days) + " days"
	case days*24 >= 1:
		return number(days*24) + " hours"
	}
	return number(days*24*60) + " minutes"
}

// The tables of the document are those of the model.
func TestScaleDocumentShowsTheModel(t *testing.T) {
	const file = "../docs/scale.md"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := readShipped(t)
	want := string(content)
	for name, table := range map[string]string{"demand": demandTable(s), "strain": strainTable(s)} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
		head, rest, found := strings.Cut(want, begin)
		_, tail, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no %q to %q", file, begin, end)
		}
		want = head + begin + table + end + tail
	}
	if want == string(content) {
		return
	}
	if !*update {
		t.Fatalf("%s shows other numbers than the model: go test ./bench -run Scale -update", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A model that a tenth of the load contradicts is none: more load never asks for less,
// and what it says of the office itself is what the office can count.
func TestScaleModelIsPlausible(t *testing.T) {
	s := readShipped(t)
	before := demandOf(office, s)
	if got := before.polls; math.Abs(got-27.8) > 0.1 {
		t.Errorf("a hundred thousand an hour are %g a second", got)
	}
	if got := before.evidence / (evidenceBytes * 24); math.Abs(got-office) > 1 {
		t.Errorf("evidence of %g polls an hour", got)
	}
	for _, n := range times[1:] {
		d := demandOf(n*office, s)
		if d.cores <= before.cores || d.memory <= before.memory || d.evidence <= before.evidence || d.days >= before.days {
			t.Errorf("at %g times: %+v after %+v", n, d, before)
		}
		before = d
	}
}

// How numbers are written is part of the document.
func TestScaleNumbersAreReadable(t *testing.T) {
	for got, want := range map[string]string{
		number(0.0389): "0.039", number(27.78): "28", number(9.96): "10", number(27_778): "28,000",
		number(1_000_000): "1,000,000", number(3): "3",
		size(9.74e9): "9.7 GB", size(512): "510 B", duration(0.02): "29 minutes", duration(0.5): "12 hours",
		duration(6.3): "6.3 days",
		share(0.482):  "48 %", share(1.55): "155 %", share(46): "46 times",
	} {
		if got != want {
			t.Errorf("%s, expected %s", got, want)
		}
	}
}
