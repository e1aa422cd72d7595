package replicas

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/redistest"
)

// The scripts as they are, run by a real Redis, but by the clock of a simulation: hours
// of several replicas pass in a moment, with Redis going and returning for one or all.

func simulated(script string) *redis.Script {
	const theirs = "redis.call('TIME')"
	if !strings.Contains(script, theirs) {
		panic("the script does not ask for the time")
	}
	return redis.NewScript(strings.Replace(script, theirs, "{ARGV[#ARGV - 1], ARGV[#ARGV]}", 1))
}

var simulatedMuster, simulatedSpend = simulated(musterText), simulated(takeText)

var errUnreached = errors.New("cut off")

// world is a simulation.
type world struct {
	t      *testing.T
	client *redis.Client
	now    time.Time
	list   []*simulatedReplica
	// admitted are the times of all calls that any replica has let pass.
	admitted []time.Time
	asked    int
	prefix   string
}

// simulatedReplica is one replica and how it sees Redis.
type simulatedReplica struct {
	w        *world
	name     string
	reached  bool
	lost     bool // it has found out, and asks again only after a probe
	losses   uint64
	nextBeat time.Time
	nextLook time.Time
	members  *members
	rate     *Rate
}

func newWorld(t *testing.T, server *redistest.Server, n int, spec Spec) *world {
	t.Helper()
	w := &world{t: t, client: server.Client(), now: time.Unix(1_800_000_000, 0), prefix: fmt.Sprintf("ebox:%s:", t.Name())}
	for range n {
		w.join(spec, n)
	}
	return w
}

func (w *world) join(spec Spec, assumed int) *simulatedReplica {
	r := &simulatedReplica{w: w, name: fmt.Sprintf("replica-%d", len(w.list)), reached: true}
	clock := func() time.Time { return w.now }
	r.nextBeat = w.now.Add(time.Duration(len(w.list)) * 70 * time.Millisecond)
	r.nextLook = r.nextBeat
	r.members = newMembers(r, assumed, clock)
	r.rate = newRate(r, r.members, w.prefix+"rate", spec, clock)
	w.list = append(w.list, r)
	return r
}

func (r *simulatedReplica) era() (uint64, bool) { return r.losses, r.lost }

func (r *simulatedReplica) lose() {
	if !r.lost {
		r.lost = true
		r.losses++
	}
}

func (r *simulatedReplica) run(script *redis.Script, key string, args ...any) ([]int64, error) {
	if !r.reached {
		r.lose()
		return nil, errUnreached
	}
	r.w.asked++
	now := r.w.now
	return script.Run(context.Background(), r.w.client, []string{key},
		append(args, now.Unix(), now.Nanosecond()/1000)...).Int64Slice()
}

func (r *simulatedReplica) muster(_ context.Context, lease time.Duration, last reading) (reading, error) {
	n, err := r.run(simulatedMuster, r.w.prefix+"replicas", musterArgs(r.name, lease, last)...)
	if err != nil {
		return reading{}, r.fatal(err)
	}
	return readingOf(n)
}

func (r *simulatedReplica) take(_ context.Context, _ *call.Allowance, q *ask) (grant, error) {
	n, err := r.run(simulatedSpend, q.name, q.args()...)
	if err != nil {
		return grant{}, r.fatal(err)
	}
	return grantOf(n)
}

func (r *simulatedReplica) fatal(err error) error {
	if !errors.Is(err, errUnreached) {
		r.w.t.Fatal(err)
	}
	return err
}

// pass lets time pass in steps of ten milliseconds. In each, every replica gets as many
// calls as load says; those of the second are batch where that makes a difference.
func (w *world) pass(d time.Duration, load func(replica int) int) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(10 * time.Millisecond) {
		for i, r := range w.list {
			if !w.now.Before(r.nextLook) {
				r.nextLook = w.now.Add(time.Second)
				if r.lost = r.lost && !r.reached; !r.reached {
					r.lose()
				}
			}
			if !w.now.Before(r.nextBeat) {
				r.nextBeat = w.now.Add(renewing)
				_ = r.members.renew(context.Background())
			}
			for range load(i) {
				if r.rate.Take(context.Background(), nil, i == 1 && r.rate.spec.BatchShare > 0) == 0 {
					w.admitted = append(w.admitted, w.now)
				}
			}
		}
	}
}

// most is the largest number of calls admitted in any minute.
func (w *world) most() (most int) {
	from := 0
	for i, at := range w.admitted {
		for at.Sub(w.admitted[from]) >= time.Minute {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// since counts the calls admitted since a moment.
func (w *world) since(at time.Time) (n int) {
	for _, a := range w.admitted {
		if !a.Before(at) {
			n++
		}
	}
	return n
}

// holds checks that in no minute more was admitted than promised.
func (w *world) holds(spec Spec) {
	w.t.Helper()
	allowed := int(1.1*60*spec.PerSecond) + max(spec.Burst, len(w.list))
	most := w.most()
	w.t.Logf("%d replicas, %v a second: at most %d in a minute, %d are promised, %d asked Redis", len(w.list),
		spec.PerSecond, most, allowed, w.asked)
	if most > allowed {
		w.t.Errorf("in one minute %d calls were admitted, and %d at most are promised", most, allowed)
	}
}

func (w *world) reach(reached bool, replicas ...int) {
	for _, i := range replicas {
		w.list[i].reached = reached
	}
}

// forget ends Redis and starts it again with nothing, which cuts all connections.
func (w *world) forget(server *redistest.Server) {
	server.Do("DEL", w.prefix+"rate", w.prefix+"replicas")
	for _, r := range w.list {
		r.lose()
	}
}

// flood is more than any rate of these tests lets pass.
func flood(int) int { return 1 }

func TestARateOfTheClusterHoldsOverAllReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, spec := range map[string]Spec{
		"with a large burst":    {PerSecond: 20, Burst: 100},
		"one in two seconds":    {PerSecond: 0.5, Burst: 1},
		"with a part for batch": {PerSecond: 15, Burst: 15, BatchShare: 0.7},
		"forty a second":        {PerSecond: 40, Burst: 40},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server, 3, spec)
			w.pass(2*time.Second, func(int) int { return 0 }) // until they know of each other
			began := w.now
			w.pass(61*time.Second, flood)
			w.holds(spec)
			if got, want := float64(w.since(began)), spec.PerSecond*61; got < 0.95*want {
				t.Errorf("%v calls of %v were admitted", got, want)
			}
			// Redis goes for all: each has its share.
			w.reach(false, 0, 1, 2)
			gone := w.now.Add(2 * time.Second)
			w.pass(62*time.Second, flood)
			if got, want := float64(w.since(gone)), spec.PerSecond*60; got < 0.9*want-1 {
				t.Errorf("without Redis %v calls of %v were admitted", got, want)
			}
			w.reach(true, 0, 1, 2)
			back := w.now.Add(2 * time.Second)
			w.pass(62*time.Second, flood)
			if got, want := float64(w.since(back)), spec.PerSecond*60; got < 0.95*want-1 {
				t.Errorf("after its return %v calls of %v were admitted", got, want)
			}
			w.holds(spec)
		})
	}
}

func TestAllOfARateIsThereForOneReplica(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, server, 3, Spec{PerSecond: 30, Burst: 30})
	w.pass(2*time.Second, func(int) int { return 0 })
	began := w.now
	w.pass(20*time.Second, func(i int) int { return 1 - min(i, 1) }) // a hundred a second, at the first
	if got := w.since(began); got < 590 || got > 650 {
		t.Errorf("%d of 600 and the burst", got)
	}
}

func TestAReplicaThatIsCutOffDoesNotAddToTheRate(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	spec := Spec{PerSecond: 40, Burst: 40}
	w := newWorld(t, server, 4, spec)
	w.pass(3*time.Second, flood)
	w.reach(false, 3)
	w.pass(80*time.Second, flood)
	w.reach(true, 3)
	w.reach(false, 0, 1)
	w.pass(30*time.Second, flood)
	w.reach(true, 0, 1)
	w.pass(30*time.Second, flood)
	w.holds(spec)
}

func TestRedisThatComesAndGoesAddsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	spec := Spec{PerSecond: 40, Burst: 40}
	for name, which := range map[string][]int{"for all": {0, 1, 2}, "for one": {1}, "for two": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server, 3, spec)
			for range 22 {
				w.reach(true, which...)
				w.pass(2300*time.Millisecond, flood)
				w.reach(false, which...)
				w.pass(1100*time.Millisecond, flood)
			}
			w.holds(spec)
		})
	}
}

// Redis ends and comes back with nothing, as it does without persistence.
func TestARedisThatHasForgottenEverythingGivesNoBurstAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	spec := Spec{PerSecond: 30, Burst: 60}
	w := newWorld(t, server, 3, spec)
	for range 20 {
		w.pass(4*time.Second, flood)
		w.forget(server)
	}
	w.holds(spec)
}

func TestAReplicaThatLeavesTakesNoShareWithIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	spec := Spec{PerSecond: 40, Burst: 40}
	w := newWorld(t, server, 3, spec)
	w.pass(3*time.Second, flood)
	gone := w.list[2]
	w.list = w.list[:2]
	if _, err := gone.muster(t.Context(), 0, reading{}); err != nil {
		t.Fatal(err)
	}
	w.pass(2*time.Second, flood)
	from := w.now
	w.pass(20*time.Second, flood)
	if got := w.since(from); got < 780 || got > 850 {
		t.Errorf("%d of 800 were admitted by those who stayed", got)
	}
	// One that dies without a word keeps its share for a while, and then no more.
	w.list = w.list[:1]
	w.pass(2*time.Second, flood)
	from = w.now
	w.pass(20*time.Second, flood)
	if got := w.since(from); got < 380 || got > 450 {
		t.Errorf("%d of 400 were admitted beside one that may be alive", got)
	}
	w.pass(forgetting, func(int) int { return 0 })
	from = w.now
	w.pass(20*time.Second, flood)
	if got := w.since(from); got < 780 || got > 850 {
		t.Errorf("%d of 800 were admitted when it was forgotten", got)
	}
	w.holds(spec)
}

func TestAnythingMayHappenToRedisAndTheReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			spec := Spec{PerSecond: 5 + 45*random.Float64()}
			spec.Burst = 1 + random.IntN(int(2*spec.PerSecond))
			w := newWorld(t, server, 2+random.IntN(4), spec)
			w.pass(2*time.Second, flood)
			for range 25 {
				for i := range w.list {
					if random.IntN(3) == 0 {
						w.reach(random.IntN(2) == 0, i)
					}
				}
				if random.IntN(6) == 0 {
					w.forget(server)
				}
				only := random.IntN(2 * len(w.list))
				w.pass(time.Duration(200+random.IntN(9000))*time.Millisecond, func(i int) int {
					if only < len(w.list) && i != only {
						return 0
					}
					return random.IntN(3)
				})
			}
			w.holds(spec)
		})
	}
}

// What a refusal says about time is true: by then there is a token, if nobody else
// takes it.
func TestRetryAfterIsTrueWithAndWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, server, 1, Spec{PerSecond: 0.4, Burst: 2})
	none := func(int) int { return 0 }
	r := w.list[0]
	for _, where := range []string{"in Redis", "without Redis", "after its return"} {
		r.reached = where != "without Redis"
		w.pass(time.Second, none)
		for range 5 {
			for r.rate.Take(t.Context(), nil, false) == 0 {
			}
			short := r.rate.Take(t.Context(), nil, false)
			if short > 5*time.Second {
				t.Fatalf("%s: %s to wait", where, short)
			}
			w.pass(short-20*time.Millisecond, none)
			if where == "in Redis" && r.rate.Take(t.Context(), nil, false) == 0 { // a share fills up a little sooner
				t.Fatalf("there was a token before %s had passed", short)
			}
			w.pass(30*time.Millisecond, none)
			if left := r.rate.Take(t.Context(), nil, false); left != 0 {
				t.Fatalf("%s: after %s there is none for another %s", where, short, left)
			}
		}
	}
}
