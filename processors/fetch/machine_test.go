package fetch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

// machine is the stage under random interleavings of two records' lives: changes with and without a
// new version, deletions, hints that come late and in any order, bodies that were read at any time
// before, workers that die at each step or go on long after their lease ended. The model is the
// vendor, and translate's rule 16.
type machine struct {
	t     *rapid.T
	b     *bench
	name  string
	rs    []event.Resource
	state map[event.Resource]state
	clock int64 // the vendor's: rises with versions

	hints  []event.Resource       // on their way
	bodies []event.VendorSnapshot // on their way, as they were when they were read
	jobs   []*inFlight
	begun  []incoming // published or not, not recorded yet
}

// inFlight is a fetch between two steps.
type inFlight struct {
	job
	snap *event.VendorSnapshot
	end  *ending
}

func (m *machine) record(label string) event.Resource {
	return rapid.SampledFrom(m.rs).Draw(m.t, label)
}

// change is followed by a hint, at some time: that is what webhooks and polls are for.
func (m *machine) change(t *rapid.T) {
	r := m.record("resource")
	if rapid.Bool().Draw(t, "new version") {
		m.clock++
	}
	s := state{version: m.clock, body: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "body")}
	if rapid.IntRange(0, 4).Draw(t, "deleted") == 0 {
		s = state{gone: true}
	}
	m.state[r] = s
	m.b.vendor.set(r, s)
	m.hints = append(m.hints, r)
}

// body is sent along by a webhook or read by a poll now, and comes later.
func (m *machine) body(*rapid.T) {
	r := m.record("resource")
	if s := m.state[r]; !s.gone {
		m.bodies = append(m.bodies, s.snapshot(r))
	}
}

func (m *machine) hint(t *rapid.T) {
	if len(m.hints) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.hints)-1).Draw(t, "hint")
	m.b.hint(t, m.hints[i])
	m.hints = append(m.hints[:i], m.hints[i+1:]...)
}

// arrive lets bodies come, all of a poll's chunk at once, and starts what may be taken.
func (m *machine) arrive(t *rapid.T) {
	if len(m.bodies) == 0 {
		return
	}
	n := rapid.IntRange(1, len(m.bodies)).Draw(t, "bodies")
	in, err := m.b.begin(m.ctx(), m.bodies[:n], "test")
	require.NoError(t, err)
	m.begun = append(m.begun, in)
	if rapid.Bool().Draw(t, "delivered") { // else it comes again
		m.bodies = m.bodies[n:]
	}
}

// record publishes and records what was started, or dies before either. What dies comes again.
func (m *machine) land(t *rapid.T) {
	if len(m.begun) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.begun)-1).Draw(t, "chunk")
	in := m.begun[i]
	m.begun = append(m.begun[:i], m.begun[i+1:]...)
	dies := rapid.SampledFrom([]string{"", "", "before publishing", "before recording"}).Draw(t, "dies")
	if dies != "before publishing" {
		for _, s := range in.begun {
			require.NoError(t, m.b.publish.Publish(m.ctx(), out(s)))
		}
	}
	if dies != "" {
		for _, s := range in.begun {
			m.bodies = append(m.bodies, *s)
		}
		for _, h := range in.hints {
			m.hints = append(m.hints, h.resource)
		}
		return
	}
	require.NoError(t, postgres.Tx(m.ctx(), m.b.store.pool, func(tx pgx.Tx) error {
		return errors.Join(m.b.store.finish(m.ctx(), tx, in.begun), m.b.store.mark(m.ctx(), tx, in.hints, m.b.clock.now()))
	}))
}

func (m *machine) take(t *rapid.T) {
	for _, j := range m.takeAll(t) {
		m.jobs = append(m.jobs, &inFlight{job: j})
	}
}

func (m *machine) takeAll(t *rapid.T) []job {
	who := account{m.name, "acme", "main"}
	jobs, err := m.b.store.take(m.ctx(), []share{{who, live, 10}, {who, backfill, 10}}, m.b.clock.now(), rowLease)
	require.NoError(t, err)
	return jobs
}

// step moves one fetch on: call, publish, record; or its worker dies.
func (m *machine) step(t *rapid.T) {
	if len(m.jobs) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.jobs)-1).Draw(t, "job")
	f := m.jobs[i]
	drop := func() { m.jobs = append(m.jobs[:i], m.jobs[i+1:]...) }
	if rapid.IntRange(0, 7).Draw(t, "dies") == 0 {
		drop()
		return
	}
	switch {
	case f.end != nil:
		m.b.settle(m.ctx(), f.job, f.end)
		drop()
	case f.snap != nil:
		end := m.b.pass(m.ctx(), f.job, f.snap)
		f.end = &end
	case rapid.IntRange(0, 5).Draw(t, "vendor fails") == 0:
		end := m.b.failed(f.job, errors.New("connection reset"))
		end.finished = !f.unfinished
		f.end = &end
	default:
		s, err := m.b.read(m.ctx(), m.b.vendors["acme"], f.job, tenant.Account{})
		require.NoError(t, err)
		f.snap = s
	}
}

func (m *machine) time(t *rapid.T) {
	m.b.clock.pass(time.Duration(rapid.IntRange(30, 120).Draw(t, "seconds")) * time.Second)
}

func (m *machine) ctx() context.Context { return m.t.Context() }

// settle lets everything that is on its way arrive and everything that is due be read, late workers
// and all, and holds the result against the vendor.
func (m *machine) quiesce(t *rapid.T) {
	late := m.jobs // they publish after everything else
	m.jobs = nil
	for len(m.bodies) > 0 || len(m.hints) > 0 || len(m.begun) > 0 {
		if len(m.bodies) > 0 {
			in, err := m.b.begin(m.ctx(), m.bodies, "test")
			require.NoError(t, err)
			m.begun, m.bodies = append(m.begun, in), nil
		}
		if len(m.begun) > 0 {
			m.land(t)
		}
		for _, r := range m.hints {
			m.b.hint(t, r)
		}
		m.hints = nil
	}
	for range 200 {
		m.b.clock.pass(rowLease)
		for _, j := range m.takeAll(t) {
			end := m.b.fetch(m.ctx(), j, tenant.Account{})
			m.b.settle(m.ctx(), j, &end)
		}
		if m.clean(t) {
			break
		}
	}
	require.True(t, m.clean(t), "a row stays dirty")
	for _, f := range late {
		for f.end == nil {
			if f.snap == nil {
				break // its call never came back
			}
			end := m.b.pass(m.ctx(), f.job, f.snap)
			f.end = &end
		}
		if f.end != nil {
			m.b.settle(m.ctx(), f.job, f.end)
		}
	}
	m.check(t)
}

func (m *machine) clean(t *rapid.T) bool {
	for _, r := range m.rs {
		w, err := m.b.desk.Why(m.ctx(), r)
		if errors.Is(err, ErrUnknownResource) {
			continue
		}
		require.NoError(t, err)
		if w.State != StateClean {
			return false
		}
	}
	return true
}

func (m *machine) check(t *rapid.T) {
	log := m.b.log.all()
	for _, r := range m.rs {
		want, named := m.state[r]
		if !named {
			continue // never changed, so nobody need know it
		}
		got := accepted(log, r)
		require.NotNil(t, got, "%s was never emitted", r.Key())
		require.Equal(t, want.gone, got.Gone, r.Key())
		if !want.gone {
			require.Equal(t, want.body, string(got.Parts[0].Body), r.Key())
			require.Equal(t, want.version, got.Version, r.Key())
		}
	}
}

func TestAcceptedStateIsTheVendorsAfterAnyInterleaving(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var runs atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{t: rt, b: b, name: "t" + strconv.FormatInt(runs.Add(1), 10), state: map[event.Resource]state{}}
		for i := range 2 {
			m.rs = append(m.rs, saleOf(m.name, fmt.Sprint(i)))
		}
		actions := []func(*rapid.T){
			m.change, m.change, m.body, m.hint, m.hint, m.arrive, m.land, m.take, m.take, m.step, m.step, m.step, m.time,
		}
		for range rapid.IntRange(20, 80).Draw(rt, "length") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(rt, "action")](rt)
		}
		m.quiesce(rt)
	})
}
