package outages

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/postgres"
	pair "conveyance/internal/realparts/postgres"
)

func startPair(t *testing.T) (*pair.Pair, *chaos.Bus) {
	t.Helper()
	p, err := pair.StartPair(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	return p, start(t, chaos.Config{Exe: build(t), Dir: filepath.Join(t.TempDir(), "bus"), Postgres: p.URL})
}

// perPromotion is how many deals are under way between two promotions.
const perPromotion = 8

func TestNothingAcknowledgedIsLostOverPromotions(t *testing.T) {
	n := times(t, "CONVEYANCE_PROMOTIONS")
	r := seeded(t)
	p, b := startPair(t)
	stop := b.Watch(t.Context())
	var longest time.Duration
	frozen := 0
	for i := range n {
		require.NoError(t, b.Story(t.Context(), int64(1000+i), perPromotion, 12))
		chaos.Pause(t.Context(), between(r, time.Second, 3*time.Second))
		how := "killed"
		if r.IntN(3) == 0 {
			how, frozen = "frozen", frozen+1
			p.Freeze()
			chaos.Pause(t.Context(), between(r, 0, time.Second))
		} else {
			require.NoError(t, p.Kill(t.Context()))
		}
		require.NoError(t, p.Promote(t.Context()))
		began := time.Now()
		moved(t, b)
		took := time.Since(began)
		longest = max(longest, took)
		t.Logf("promotion %d: primary %s; first commit %d ms after", i+1, how, took.Milliseconds())
		require.NoError(t, p.Rejoin(t.Context()))
	}
	told(t, b)
	v := settled(t, b)
	require.Empty(t, stop(), "no offset falls")
	t.Logf("%s after %d promotions, %d of them of a frozen primary; first commit at most %d ms after a promotion",
		v, n, frozen, longest.Milliseconds())
}

// lookWithin is how long one look at the tables may take.
const lookWithin = 5 * time.Second

// moved waits until a stage has committed on the new primary.
func moved(t *testing.T, b *chaos.Bus) {
	t.Helper()
	before, err := progress(t.Context(), b)
	for until := time.Now().Add(patience); ; {
		now, again := progress(t.Context(), b)
		if err == nil && again == nil && now != before {
			return
		}
		before, err = now, again
		require.True(t, time.Now().Before(until), "no stage goes on: %v", again)
		chaos.Pause(t.Context(), 50*time.Millisecond)
	}
}

// progress is the last numbered transaction of the groups' owners, and changes with each.
func progress(ctx context.Context, b *chaos.Bus) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin) // a connection to a frozen server never answers
	defer cancel()
	var all []string
	for _, g := range chaos.Groups() {
		var sum, claims int64
		err := b.Pool.QueryRow(ctx, postgres.In(g,
			"SELECT coalesce(sum(seq), 0), coalesce(sum(epoch), 0) FROM {schema}.consumer_offsets")).Scan(&sum, &claims)
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%s %d/%d", g, claims, sum))
	}
	return strings.Join(all, " "), nil
}

func TestTailThatPostgresLostIsNoticedAndReadBack(t *testing.T) {
	n := times(t, "CONVEYANCE_LOST_TAILS")
	r := seeded(t)
	p, b := startPair(t)
	lost, noticed := 0, 0
	for i := range n {
		require.NoError(t, b.Story(t.Context(), int64(2000+i), perPromotion, 12))
		chaos.Pause(t.Context(), between(r, time.Second, 2*time.Second))
		p.CutStandby()
		require.NoError(t, p.Synchronous(t.Context(), false))
		before := applied(t, b)
		chaos.Pause(t.Context(), between(r, 2*time.Second, 4*time.Second)) // on the primary alone
		gone := applied(t, b) - before
		token := lastToken(t, b)
		require.NoError(t, p.Kill(t.Context()))
		require.NoError(t, p.Promote(t.Context()))
		moved(t, b)
		require.NoError(t, p.Rejoin(t.Context()))
		told(t, b)
		v := settled(t, b)
		doubted := inDoubt(t, b)
		t.Logf("lost tail %d: %d effects whose rows were lost, %d partitions in doubt; %s", i+1, gone, doubted, v)
		require.Greater(t, lastToken(t, b), token, "a read after the failover has a higher token than each before it")
		lost, noticed = lost+gone, noticed+doubted
	}
	require.NotZero(t, lost, "no tail was lost: the lane tried nothing")
	require.NotZero(t, noticed, "no claim noticed the lost tail")
	t.Logf("lost tails %d: %d effects whose rows were lost, none made again", n, lost)
}

// applied are the effects in the CRM that the ledger knows.
func applied(t *testing.T, b *chaos.Bus) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(t.Context(), "SELECT count(*) FROM followupboss.ledger WHERE state = 2").Scan(&n))
	return n
}

// inDoubt are the partitions of the CRM's adapter that a claim has found to be in doubt up to a position.
func inDoubt(t *testing.T, b *chaos.Bus) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(t.Context(),
		"SELECT count(*) FROM followupboss.consumer_offsets WHERE doubt_until > 0 AND timeline > 1").Scan(&n))
	return n
}

func lastToken(t *testing.T, b *chaos.Bus) (n int64) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(t.Context(), `SELECT coalesce(max(started), 0) FROM "fetch".resource`).Scan(&n))
	return n
}
