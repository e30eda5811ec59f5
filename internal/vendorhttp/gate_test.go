package vendorhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

var get = vendorhttp.Request{Method: "GET", Path: "/people"}

// told collects what a health callback hears.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (h *told) hear(_ context.Context, a tenant.Account, refused bool, cause string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprint(a.Key(), " ", refused, " ", cause))
}

func (h *told) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lines
}

func TestRefusedAccountIsNotAskedAgainBeforeItsProbeAndOthersAre(t *testing.T) {
	t.Parallel()
	var h told
	dead, n := vendor(t, status(401))
	well, _ := vendor(t, status(200))
	well.Name = "other"
	c := client(t, vendorhttp.Config{Health: h.hear})
	for range 50 {
		_, err := c.Do(t.Context(), dead, get)
		v := verdict.Of(err)
		require.Equal(t, verdict.Hold, v.Kind)
		require.Equal(t, "account refused", v.Cause)
		require.WithinDuration(t, time.Now().Add(30*time.Second), v.Until, 5*time.Second)
		_, err = c.Do(t.Context(), well, get)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, n.Load())
	require.Equal(t, []string{"lakeshore/followupboss/main true account refused 401"}, h.all())
}

// meanwhile is a budget whose first answer comes after something else has happened.
type meanwhile struct {
	purse
	once sync.Once
	do   func()
}

func (m *meanwhile) Take(context.Context, tenant.Account, string) error { m.once.Do(m.do); return nil }

func TestCallThatWaitedForItsBudgetDuringTheRefusalIsNoProbe(t *testing.T) {
	t.Parallel()
	dead, _ := vendor(t, status(401))
	budget := &meanwhile{}
	c := client(t, vendorhttp.Config{Budget: budget})
	login := get
	login.Free = true
	budget.do = func() { _, _ = c.Do(t.Context(), dead, login) } // refused while the other waits
	_, err := c.Do(t.Context(), dead, get)
	require.WithinDuration(t, time.Now().Add(30*time.Second), verdict.Of(err).Until, 5*time.Second)
}

func TestMendedCredentialOpensTheAccountAtOnceAndRecoveryIsToldOnce(t *testing.T) {
	t.Parallel()
	var h told
	a, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "new" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	c := client(t, vendorhttp.Config{Health: h.hear})
	_, err := c.Do(t.Context(), a, get)
	require.Error(t, err)
	a.Credential.Fields = map[string]string{"api_key": "new"}
	mended := get
	mended.Header = http.Header{"X-Key": {"new"}}
	for range 3 {
		_, err = c.Do(t.Context(), a, mended)
		require.NoError(t, err)
	}
	// The old credential is gone with its memory: whoever still holds it is refused anew.
	require.Equal(t, "lakeshore/followupboss/main true account refused 401", h.all()[0])
}

func TestRecordedRecoveryOpensTheAccountBeforeItsProbe(t *testing.T) {
	t.Parallel()
	var code atomic.Int64
	code.Store(403)
	a, n := vendor(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) })
	c := client(t, vendorhttp.Config{})
	_, err := c.Do(t.Context(), a, get)
	require.Error(t, err)
	code.Store(200)
	_, err = c.Do(t.Context(), a, get)
	require.Equal(t, "account refused", verdict.Of(err).Cause)
	a.Health = tenant.Health{CheckedAt: time.Now()}
	_, err = c.Do(t.Context(), a, get)
	require.NoError(t, err)
	require.EqualValues(t, 2, n.Load())
}

func TestSuccessOfAnAccountThatAnotherProcessSawRefusedIsTold(t *testing.T) {
	t.Parallel()
	var h told
	a, _ := vendor(t, status(200))
	a.Health = tenant.Health{Refused: true, CheckedAt: time.Now()}
	c := client(t, vendorhttp.Config{Health: h.hear})
	for range 3 {
		_, err := c.Do(t.Context(), a, get)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"lakeshore/followupboss/main false "}, h.all())
}

func TestStatusThatTheCallerUnderstandsRefusesNothing(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, status(401))
	c := client(t, vendorhttp.Config{})
	r := get
	r.Answers = []int{401}
	for range 3 {
		resp, err := c.Do(t.Context(), a, r)
		require.NoError(t, err)
		require.Equal(t, 401, resp.Status)
	}
	require.EqualValues(t, 3, n.Load())
}

func TestLimitedAccountHoldsUntilRetryAfter(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 10 * time.Second, "junk": 10 * time.Second, "-1": 10 * time.Second,
		"999999999": time.Hour, "inf": time.Hour,
		time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
	} {
		a, _ := vendor(t, status(429, "Retry-After", header))
		_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, get)
		require.WithinDuration(t, time.Now().Add(want), verdict.Of(err).Until, 3*time.Second, header)
	}
}

func TestLimitThatEndedInThePastIsWaitedForAMomentNevertheless(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"0", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)} {
		a, _ := vendor(t, status(429, "Retry-After", header))
		began := time.Now()
		_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, get)
		require.GreaterOrEqual(t, verdict.Of(err).Until.Sub(began), time.Second, header)
	}
}

func TestPausedAccountIsNotCalled(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, status(200))
	a.Paused = true
	_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, get)
	require.Equal(t, "account paused", verdict.Of(err).Cause)
	require.True(t, verdict.Of(err).Until.IsZero())
	require.Zero(t, n.Load())
}

func TestAnswersThatCannotBeReadAreReturnedAndCountAsFailures(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>maintenance") })
	c := client(t, vendorhttp.Config{})
	r := get
	r.Readable = json.Valid
	for range 5 {
		resp, err := c.Do(t.Context(), a, r)
		require.NoError(t, err)
		require.Equal(t, "<html>maintenance", string(resp.Body))
	}
	_, err := c.Do(t.Context(), a, r)
	require.Equal(t, "vendor fails for this account", verdict.Of(err).Cause)
	require.EqualValues(t, 5, n.Load())
}

func TestFailingAccountHoldsItselfAndNeverStallsTheVendor(t *testing.T) {
	t.Parallel()
	bad, n := vendor(t, status(500))
	well, _ := vendor(t, status(200))
	well.Name = "other"
	c := client(t, vendorhttp.Config{})
	for range 30 {
		_, err := c.Do(t.Context(), bad, get)
		require.NotEqual(t, verdict.Stall, verdict.Of(err).Kind)
	}
	require.EqualValues(t, 5, n.Load())
	_, err := c.Do(t.Context(), bad, get)
	v := verdict.Of(err)
	require.Equal(t, verdict.Hold, v.Kind)
	require.Equal(t, "vendor fails for this account", v.Cause)
	require.WithinDuration(t, time.Now().Add(15*time.Second), v.Until, 5*time.Second)
	_, err = c.Do(t.Context(), well, get)
	require.NoError(t, err)
}

func TestVendorDownForSeveralAccountsStalls(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, status(502))
	b := a
	b.Name = "other"
	c := client(t, vendorhttp.Config{})
	var last *verdict.Error
	for range 10 {
		for _, who := range []tenant.Account{a, b} {
			_, err := c.Do(t.Context(), who, get)
			last = verdict.Of(err)
		}
	}
	require.Equal(t, verdict.Stall, last.Kind)
	require.Equal(t, "vendor followupboss is down", last.Cause)
	require.EqualValues(t, 5, n.Load())
}

// purse is a budget of n calls.
type purse struct {
	n       int
	buckets []string
	learned []int
	lanes   []string
}

func (p *purse) Take(_ context.Context, a tenant.Account, lane string) error {
	p.lanes = append(p.lanes, lane)
	if p.n == 0 {
		return verdict.Held(verdict.AccountScope(a.Tenant, a.Vendor, a.Name), time.Now().Add(time.Second), "budget spent", nil)
	}
	p.n--
	return nil
}

func (p *purse) Learn(_ context.Context, _ tenant.Account, status int, _ http.Header) {
	p.learned = append(p.learned, status)
}

func (p *purse) In(bucket string) budget.Budget {
	p.buckets = append(p.buckets, bucket)
	return p
}

func TestBudgetIsTakenBeforeEachPaidCallAndLearnsFromEachAnswer(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, status(204))
	p := &purse{n: 1}
	c := client(t, vendorhttp.Config{Budget: p})
	login := get
	login.Free = true
	_, err := c.Do(t.Context(), a, login)
	require.NoError(t, err)
	_, err = c.Do(t.Context(), a, get)
	require.NoError(t, err)
	late := get
	late.Lane, late.Bucket = "backfill", "people.get"
	_, err = c.Do(t.Context(), a, late)
	require.Equal(t, "budget spent", verdict.Of(err).Cause)
	_, err = c.Do(budget.WithLane(t.Context(), budget.LaneBackfill), a, get)
	require.Error(t, err)
	require.EqualValues(t, 2, n.Load())
	require.Equal(t, []int{204, 204}, p.learned)
	require.Equal(t, []string{"live", "backfill", "backfill"}, p.lanes)
	require.Equal(t, []string{"people.get"}, p.buckets)
}
