package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
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

func TestStoryUnderKillsAndZombiesEndsAsTruthSays(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	s := sized(t)
	b := start(t)
	require.NoError(t, b.Weather(t.Context()))
	stop := b.Watch(t.Context())
	require.NoError(t, b.Story(t.Context(), s.seed, s.deals, s.perSecond()))
	owners, stages, parts := chaos.Owners(), chaos.Stages(), []string{"broker", "registry"}
	r := rand.New(rand.NewPCG(uint64(s.seed), 1))
	kills, zombies := 0, 0
	for kills < s.kills || zombies < s.zombies {
		chaos.Pause(t.Context(), time.Duration(200+r.IntN(800))*time.Millisecond)
		if zombies < s.zombies && (kills >= s.kills || r.IntN(s.kills/max(1, s.zombies)+1) == 0) {
			require.NoError(t, b.Zombie(t.Context(), owners[r.IntN(len(owners))], r))
			zombies++
			continue
		}
		name := stages[r.IntN(len(stages))]
		if r.IntN(5) == 0 {
			name = parts[r.IntN(len(parts))]
		}
		killed := false
		kill := func() { killed = b.Signal(name, syscall.SIGKILL) }
		if name != "broker" && r.IntN(2) == 0 {
			b.Unanswered(t.Context(), kill)
		} else {
			kill()
		}
		if killed {
			kills++
		}
	}
	require.Eventually(t, func() bool { return b.Told(t.Context()) }, 5*time.Minute, time.Second)
	t.Logf("%d kills and %d zombies of seed %d", kills, zombies, s.seed)
	require.NotZero(t, b.settled(t.Context(), stop).Effects)

	again, err := b.Past(t.Context())
	require.NoError(t, err)
	require.NotZero(t, again)
	t.Logf("%d old records come again to empty ledgers", again)
	b.settled(t.Context())
}
