package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/judge"
)

// size of the story. The default fits go test ./...; .ci/run tells the whole one through the
// environment.
type size struct {
	deals, kills, zombies int
	seed                  int64
}

func sized(t *testing.T) size {
	number := func(name string, otherwise int) int {
		text := os.Getenv("CONVEYANCE_E2E_" + name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	return size{deals: number("DEALS", 40), kills: number("KILLS", 10), zombies: number("ZOMBIES", 2), seed: int64(number("SEED", 7))}
}

// perSecond spreads the story over the time of the faults: a process that dies while nothing happens
// proves nothing. A deal's life is about six steps, a kill takes two thirds of a second, a zombie
// three and a half.
func (s size) perSecond() int {
	return max(5, 6*s.deals/max(1, s.kills*2/3+s.zombies*7/2))
}

// stages may be killed and frozen; the embedded parts are killed only, and the simulated vendors
// are the outside world.
var (
	stages = []string{"ingest", "fetch", "translate", "adapter followupboss", "adapter warehouse", "adapter timeline"}
	owners = stages[1:] // of partitions: another process can take their place
	parts  = []string{"broker", "registry"}
	groups = []string{"fetch", "translate", "followupboss", "warehouse", "timeline"}
)

// patience is how long the bus may show no progress before it is judged as it is.
const patience = 60 * time.Second

func TestStoryUnderKillsAndZombiesEndsAsTruthSays(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	s := sized(t)
	b := start(t)
	b.weather(t.Context())
	stop := b.watch(t.Context())
	b.story(t.Context(), s.seed, s.deals, s.perSecond())
	r := rand.New(rand.NewPCG(uint64(s.seed), 1))
	kills, zombies := 0, 0
	for kills < s.kills || zombies < s.zombies {
		pause(t.Context(), time.Duration(200+r.IntN(800))*time.Millisecond)
		if zombies < s.zombies && (kills >= s.kills || r.IntN(s.kills/max(1, s.zombies)+1) == 0) {
			b.zombie(t.Context(), owners[r.IntN(len(owners))], r)
			zombies++
			continue
		}
		name := stages[r.IntN(len(stages))]
		if r.IntN(5) == 0 {
			name = parts[r.IntN(len(parts))]
		}
		killed := false
		kill := func() { killed = b.signal(name, syscall.SIGKILL) }
		if name != "broker" && r.IntN(2) == 0 {
			b.unanswered(t.Context(), kill)
		} else {
			kill()
		}
		if killed {
			kills++
		}
	}
	require.Eventually(t, func() bool { return b.told(t.Context()) }, 5*time.Minute, time.Second)
	v := b.settle(t.Context(), patience)
	v.Misordered = append(v.Misordered, stop()...)
	t.Logf("%s after %d kills and %d zombies of seed %d", v, kills, zombies, s.seed)
	require.True(t, v.Clean(), "%s", findings(v))
	require.NotZero(t, v.Effects)

	again := b.past(t.Context())
	require.NotZero(t, again)
	v = b.settle(t.Context(), patience)
	t.Logf("%s after %d old records came again to empty ledgers", v, again)
	require.True(t, v.Clean(), "%s", findings(v))
}

// weather is what vendors do on a bad day: answers that come after the time-out, broken connections,
// half answers, errors, limits.
func (b *bus) weather(ctx context.Context) {
	b.t.Helper()
	for vendor, faults := range map[string][]string{
		"followupboss": {
			`{"match":"POST /v1/people*","times":8,"fault":"late:1"}`,
			`{"match":"POST /v1/deals*","times":8,"fault":"late:1"}`,
			`{"match":"PUT /v1/*","times":8,"fault":"late:1"}`,
			`{"match":"POST /v1/*","times":6,"fault":"reset"}`,
			`{"match":"GET /v1/*","times":10,"fault":"status:503"}`,
			`{"times":6,"fault":"retry-after:1"}`,
		},
		"skyslope": {
			`{"match":"GET /api/files*","times":3,"fault":"truncate"}`,
			`{"match":"GET /api/files*","times":3,"fault":"status:500"}`,
			`{"match":"GET /api/files*","times":2,"fault":"reset"}`,
		},
	} {
		for _, f := range faults {
			b.control(ctx, http.MethodPost, "/"+vendor+"/faults", f, nil)
		}
	}
}

// findings are the first of each sort, for a person.
func findings(v judge.Verdict) string {
	var b strings.Builder
	for _, f := range []struct {
		name string
		all  []string
	}{{"lost", v.Lost}, {"duplicated", v.Duplicated}, {"misordered", v.Misordered}, {"unexplained", v.Unexplained}} {
		for _, line := range f.all[:min(len(f.all), 8)] {
			b.WriteString(f.name + ": " + line + "\n")
		}
	}
	return b.String()
}
