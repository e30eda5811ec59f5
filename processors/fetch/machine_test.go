package fetch

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

// machine is the stage under random interleavings of a record's life: changes with and without a
// new version, deletions, hints that come late and in any order, bodies that were read at any time
// before, workers that die at each step or go on long after their lease ended. The model is the
// vendor, and translate's rule 16.
type machine struct {
	t     *rapid.T
	b     *bench
	name  string
	r     event.Resource
	state state
	clock int64 // the vendor's: rises with versions

	hints  int                    // on their way
	bodies []event.VendorSnapshot // on their way, as they were when they were read
	parts  []event.VendorSnapshot // bodies of webhooks on their way, which leave out the rest
	filled map[int64]bool         // tokens of those that were completed
	jobs   []*inFlight
	begun  []incoming             // published or not, not recorded yet
	adrift []event.VendorSnapshot // their producer gave up on them; the broker has them, now or later
}

// inFlight is a fetch between two steps.
type inFlight struct {
	job
	snap *event.VendorSnapshot
	end  *ending
}

// even draws a number below n from unbiased bits: rapid's own ranges prefer small numbers, so that
// workers would mostly die.
func even(t *rapid.T, n int, label string) int {
	bits := 0
	for range 6 {
		bits <<= 1
		if rapid.Bool().Draw(t, label) {
			bits++
		}
	}
	return bits % n
}

// change is followed by a hint, at some time: that is what webhooks and polls are for. One that leaves
// the rest as it was may be followed by the record without its rest instead.
func (m *machine) change(t *rapid.T) {
	if even(t, 3, "new version") == 0 {
		m.clock++
	}
	s := state{version: m.clock, body: string(rune('a' + even(t, 2, "body"))), rest: m.state.rest}
	if even(t, 4, "corrected") == 0 {
		s.rest = string(rune('x' + even(t, 2, "rest")))
	}
	if even(t, 8, "deleted") == 0 {
		s = state{gone: true}
	}
	told := !s.gone && !m.state.gone && s.rest == m.state.rest && rapid.Bool().Draw(t, "told")
	m.state = s
	m.b.vendor.set(m.r, s)
	if told {
		m.parts = append(m.parts, s.partial(m.r))
	} else {
		m.hints++
	}
}

// body is sent along by a webhook or read by a poll now, and comes later.
func (m *machine) body(*rapid.T) {
	if !m.state.gone {
		m.bodies = append(m.bodies, m.state.snapshot(m.r))
	}
}

func (m *machine) hint(t *rapid.T) {
	if m.hints > 0 {
		m.b.hint(t, m.r)
		m.hints--
	}
}

// arrive lets bodies come, all of a poll's chunk at once, and starts what may be taken.
func (m *machine) arrive(t *rapid.T) {
	if len(m.bodies) == 0 {
		return
	}
	n := 1 + even(t, len(m.bodies), "bodies")
	in, err := m.b.begin(m.ctx(), m.bodies[:n], nil, "test")
	require.NoError(t, err)
	m.begun = append(m.begun, in)
	if rapid.Bool().Draw(t, "delivered") { // else it comes again
		m.bodies = m.bodies[n:]
	}
}

// fill lets bodies come that leave out the rest, and starts those that may be completed and taken.
func (m *machine) fill(t *rapid.T) {
	if len(m.parts) == 0 {
		return
	}
	n := 1 + even(t, len(m.parts), "parts")
	came := make([]delivered, n)
	for i := range came {
		came[i].fact = m.parts[i]
	}
	whole, seen, lacking, err := m.b.fill(m.ctx(), came, nil)
	require.NoError(t, err)
	if rapid.Bool().Draw(t, "hint between") {
		m.hint(t)
	}
	facts := make([]event.VendorSnapshot, len(whole))
	for i, w := range whole {
		facts[i] = w.fact
	}
	in, err := m.b.begin(m.ctx(), facts, seen, "test")
	require.NoError(t, err)
	for _, s := range in.begun {
		m.filled[s.Token] = true
	}
	in.hints = append(in.hints, lacking...)
	m.begun = append(m.begun, in)
	if rapid.Bool().Draw(t, "delivered") { // else it comes again
		m.parts = m.parts[n:]
	}
}

// land publishes and records what was started, or dies before either. What dies comes again.
func (m *machine) land(t *rapid.T) {
	if len(m.begun) == 0 {
		return
	}
	i := even(t, len(m.begun), "chunk")
	in := m.begun[i]
	m.begun = append(m.begun[:i], m.begun[i+1:]...)
	dies := []string{"", "", "before publishing", "before recording"}[even(t, 4, "dies")]
	if dies != "before publishing" {
		for _, s := range in.begun {
			require.NoError(t, m.b.publish.Publish(m.ctx(), out(s)))
		}
	}
	if dies != "" {
		for _, s := range in.begun {
			if m.filled[s.Token] {
				m.parts = append(m.parts, state{version: s.Version, body: string(s.Parts[0].Body)}.partial(m.r))
			} else {
				m.bodies = append(m.bodies, *s)
			}
		}
		m.hints += len(in.hints)
		return
	}
	require.NoError(t, postgres.Tx(m.ctx(), m.b.store.pool, func(tx pgx.Tx) error {
		return errors.Join(m.b.Fetch.finish(m.ctx(), tx, in.begun), m.b.store.mark(m.ctx(), tx, in.hints, m.b.clock.now()))
	}))
}

func (m *machine) take(t *rapid.T) {
	for _, j := range m.takeAll(t) {
		m.jobs = append(m.jobs, &inFlight{job: j})
	}
}

func (m *machine) takeAll(t *rapid.T) []job {
	who := account{m.name, "acme", "main"}
	jobs, err := m.b.store.take(m.ctx(), []share{{who, live, 10}, {who, backfill, 10}}, m.b.again, m.b.clock.now(), rowLease)
	require.NoError(t, err)
	return jobs
}

// step moves one fetch on: call, publish, record; or its worker dies.
func (m *machine) step(t *rapid.T) {
	if len(m.jobs) == 0 {
		return
	}
	i := even(t, len(m.jobs), "job")
	f := m.jobs[i]
	drop := func() { m.jobs = append(m.jobs[:i], m.jobs[i+1:]...) }
	if even(t, 16, "dies") == 0 {
		drop()
		return
	}
	switch {
	case f.end != nil:
		m.b.settle(m.ctx(), f.job, f.end)
		drop()
	case f.snap != nil && even(t, 8, "ack lost") == 0:
		m.adrift = append(m.adrift, *f.snap)
		end := m.b.failed(f.job, context.DeadlineExceeded)
		f.end = &end
	case f.snap != nil:
		end := m.b.pass(m.ctx(), f.job, f.snap)
		f.end = &end
	case even(t, 8, "vendor fails") == 0:
		end := m.b.failed(f.job, errors.New("connection reset"))
		end.finished = !f.unfinished
		f.end = &end
	default:
		s, err := m.b.read(m.ctx(), m.b.vendors["acme"], f.job, tenant.Account{})
		require.NoError(t, err)
		f.snap = s
	}
}

// surface puts what was adrift on the topic.
func (m *machine) surface(t *rapid.T) {
	if len(m.adrift) == 0 {
		return
	}
	i := even(t, len(m.adrift), "adrift")
	require.NoError(t, m.b.publish.Publish(m.ctx(), out(&m.adrift[i])))
	m.adrift = append(m.adrift[:i:i], m.adrift[i+1:]...)
}

func (m *machine) time(t *rapid.T) {
	m.b.clock.pass(time.Duration(60+even(t, 64, "seconds")) * time.Second)
}

func (m *machine) ctx() context.Context { return m.t.Context() }

// quiesce lets everything that is on its way arrive and everything that is due be read, bodies and
// late workers last, when no hint is left that would mend what they spoil.
func (m *machine) quiesce(t *rapid.T) {
	late := m.jobs
	m.jobs = nil
	for len(m.begun) > 0 {
		m.land(t)
	}
	for m.hints > 0 {
		m.hint(t)
	}
	m.readAll(t)
	for len(m.bodies)+len(m.parts)+len(m.begun)+m.hints > 0 {
		m.arrive(t)
		m.fill(t)
		m.land(t)
		m.hint(t)
	}
	m.readAll(t)
	for _, f := range late {
		if f.snap != nil && f.end == nil {
			end := m.b.pass(m.ctx(), f.job, f.snap)
			f.end = &end
		}
		if f.end != nil {
			m.b.settle(m.ctx(), f.job, f.end)
		}
	}
	for i := range m.adrift {
		require.NoError(t, m.b.publish.Publish(m.ctx(), out(&m.adrift[i])))
	}
	m.readAll(t)
	m.check(t)
}

// readAll runs a worker that nothing happens to, for as long as anything is due.
func (m *machine) readAll(t *rapid.T) {
	for range 20 {
		m.b.clock.pass(5 * time.Minute) // above every lease and backoff
		for _, j := range m.takeAll(t) {
			end := m.b.fetch(m.ctx(), j, tenant.Account{})
			m.b.settle(m.ctx(), j, &end)
		}
		if m.clean(t) {
			return
		}
	}
	require.Fail(t, "a row stays dirty")
}

func (m *machine) clean(t *rapid.T) bool {
	w, err := m.b.desk.Why(m.ctx(), m.r)
	if errors.Is(err, ErrUnknownResource) {
		return true
	}
	require.NoError(t, err)
	return w.State == StateClean
}

func (m *machine) check(t *rapid.T) {
	got := accepted(m.b.log.all(), m.r)
	require.NotNil(t, got, "it was never emitted")
	require.Equal(t, m.state.gone, got.Gone)
	if !m.state.gone {
		require.Equal(t, m.state.snapshot(m.r).Parts, got.Parts)
		require.Equal(t, m.state.version, got.Version)
	}
}

func TestAcceptedStateIsTheVendorsAfterAnyInterleaving(t *testing.T) {
	t.Parallel()
	interleave(t, newBench(t))
}

// A vendor's rule makes hints wait, and loses none.
func TestAcceptedStateIsTheVendorsUnderItsPollingRule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, 7*time.Minute)
	interleave(t, b)
}

func interleave(t *testing.T, b *bench) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &machine{t: rt, b: b, name: "t" + strconv.Itoa(runs), filled: map[int64]bool{}}
		m.r = saleOf(m.name, "1")
		m.clock = 1
		m.change(rt)
		actions := []func(*rapid.T){
			m.change, m.body, m.hint, m.hint, m.arrive, m.fill, m.land, m.take, m.take, m.step, m.step, m.step, m.step, m.time, m.surface,
		}
		for range 60 + even(rt, 64, "length") {
			actions[even(rt, len(actions), "action")](rt)
		}
		m.quiesce(rt)
	})
}
