package outages

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
)

const (
	// drainWithin is the promise: at rest, with nothing lost or done twice, this long after healing.
	drainWithin = 60 * time.Second
	// patience with a story, and with a bus that is judged at the very end.
	patience = 3 * time.Minute
	// stuckAfter is when a bus that shows no progress is judged as it is.
	stuckAfter = 60 * time.Second
)

// times is how often a lane does what it does; without a number in the environment it is left out.
func times(t *testing.T, name string) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		t.Skipf("a lane of its own: set %s", name)
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// seeded is a lane's chance, from CONVEYANCE_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(7)
	if text := os.Getenv("CONVEYANCE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 2))
}

// between draws a duration.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)+1))
}

func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return exe
}

func start(t *testing.T, cfg chaos.Config) *chaos.Bus {
	t.Helper()
	b, err := chaos.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		b.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Log(b.Logs())
		}
	})
	return b
}

// told waits until every story is over.
func told(t *testing.T, b *chaos.Bus) {
	t.Helper()
	for until := time.Now().Add(patience); !b.Told(t.Context()); {
		require.True(t, time.Now().Before(until), "the story does not end")
		chaos.Pause(t.Context(), 200*time.Millisecond)
	}
}

// settled is the last verdict, which must be clean.
func settled(t *testing.T, b *chaos.Bus) judge.Verdict {
	t.Helper()
	v, err := b.Settle(t.Context(), stuckAfter)
	require.NoError(t, err)
	if !v.Clean() {
		dump(t, b, chaos.Findings(v))
	}
	require.True(t, v.Clean(), "%s\n%s", v, chaos.Findings(v))
	return v
}

var saleKey = regexp.MustCompile(`[a-z]+/skyslope/main/sale/[0-9a-f-]{36}`)

// dump shows what the tables know of the deals that findings name, and what waits in the CRM's adapter.
func dump(t *testing.T, b *chaos.Bus, findings string) {
	t.Helper()
	look := func(sql string, args ...any) {
		rows, err := b.Pool.Query(t.Context(), sql, args...)
		if err == nil {
			var lines []string
			lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
			t.Logf("%s\n%s", sql, strings.Join(lines, "\n"))
		}
		if err != nil {
			t.Log(err)
		}
	}
	keys := saleKey.FindAllString(findings, -1)
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		look(`SELECT to_jsonb(r)::text FROM "fetch".resource r WHERE key = $1`, key)
		look("SELECT (to_jsonb(s) - 'body')::text FROM translate.translate_state s WHERE resource = $1", key)
		said, err := b.Command(t.Context(), "trace", key)
		t.Log(said, err)
	}
	look(`SELECT to_jsonb(p)::text FROM "fetch".poll p WHERE vendor = 'skyslope'`)
	look("SELECT to_jsonb(k)::text FROM followupboss.queued_key k")
	look("SELECT to_jsonb(l)::text FROM followupboss.ledger l WHERE state IN (1, 4, 5)")
}
