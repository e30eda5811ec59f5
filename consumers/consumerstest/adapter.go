package consumerstest

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// AdapterSuite says what to try.
type AdapterSuite struct {
	New    func(t *testing.T) Rig // a destination that holds nothing yet
	Events func(t tenant.Tenant) []event.Event
	// Personal are words that must not stand in lines and targets, in lower case.
	Personal []string
}

// Rig is an adapter with its destination.
type Rig struct {
	Adapter consumers.Adapter
	Tenant  tenant.Tenant
	Pool    *pgxpool.Pool
	Schema  string
	Tables  []string   // of the adapter's schema
	Writes  func() int // how many calls have changed something at the destination
}

// Run holds the adapter to what it promises: a plan only reads, and is the same for the same event;
// an effect is one write at most; once applied, it reads back as in place and is not written again.
func (s AdapterSuite) Run(t *testing.T) {
	r := s.New(t)
	effects := 0
	for _, e := range s.Events(r.Tenant) {
		for _, f := range s.plan(t, r, e) {
			effects++
			s.apply(t, r, e, f)
		}
	}
	require.NotZero(t, effects, "the events have effects")
	s.lost(t)
}

// plan plans e twice.
func (s AdapterSuite) plan(t *testing.T, r Rig, e event.Event) []ledger.Effect {
	t.Helper()
	writes, tables := r.Writes(), Dump(t, r.Pool, r.Schema, r.Tables)
	first, err1 := r.Adapter.Plan(t.Context(), r.Tenant, e)
	second, err2 := r.Adapter.Plan(t.Context(), r.Tenant, e)
	require.Equal(t, first, second, "the same event plans the same effects")
	if err1 != nil {
		require.Contains(t, []verdict.Kind{verdict.Skip, verdict.Hold}, verdict.Of(err1).Kind, "%s: %v", e.Type(), err1)
		require.Equal(t, verdict.Of(err1).Cause, verdict.Of(err2).Cause)
	}
	require.Equal(t, writes, r.Writes(), "a plan writes nothing at the destination")
	require.Equal(t, tables, Dump(t, r.Pool, r.Schema, r.Tables), "a plan writes nothing here")
	var steps []int64
	for _, f := range first {
		require.NotContains(t, steps, f.Step(), "effects of one event differ by verb or target")
		steps = append(steps, f.Step())
		require.NotEmpty(t, f.Line)
		for _, word := range s.Personal {
			require.NotContains(t, strings.ToLower(f.Verb+f.Target+f.Line+f.Facet.Name), word)
		}
	}
	return first
}

// apply applies an effect twice, with readings back around it.
func (s AdapterSuite) apply(t *testing.T, r Rig, e event.Event, f ledger.Effect) {
	t.Helper()
	before := ledger.NotInPlace
	if f.Class == ledger.ClassC {
		before = s.confirm(t, r, e, f)
	}
	writes := r.Writes()
	receipt, err := r.Adapter.Apply(t.Context(), r.Tenant, e, f)
	if v := verdict.Of(err); v != nil {
		require.Equal(t, verdict.Skip, v.Kind, "%s %s: %v", f.Verb, f.Line, err)
		require.Equal(t, writes, r.Writes(), "what is skipped writes nothing")
		return
	}
	wrote := r.Writes() - writes
	require.Equal(t, receipt.NoOp, wrote == 0, "%s %s: a receipt says whether it wrote", f.Verb, f.Line)
	require.LessOrEqual(t, wrote, 1, "%s is one call", f.Verb)
	require.NotEmpty(t, receipt.Ref)
	if f.Class != ledger.ClassC {
		return
	}
	require.Equal(t, before == ledger.InPlace, receipt.NoOp, "%s %s: applying finds what was read back", f.Verb, f.Line)
	require.Equal(t, ledger.InPlace, s.confirm(t, r, e, f), "%s %s: what was applied reads back", f.Verb, f.Line)
	again, err := r.Adapter.Apply(t.Context(), r.Tenant, e, f)
	require.NoError(t, err)
	require.True(t, again.NoOp, "%s %s: nothing happens twice", f.Verb, f.Line)
	require.Equal(t, receipt.Ref, again.Ref)
	require.Equal(t, writes+wrote, r.Writes())
}

func (AdapterSuite) confirm(t *testing.T, r Rig, e event.Event, f ledger.Effect) ledger.Outcome {
	t.Helper()
	writes := r.Writes()
	out, err := r.Adapter.Confirm(t.Context(), r.Tenant, e, f)
	require.NoError(t, err, "%s %s", f.Verb, f.Line)
	require.Equal(t, writes, r.Writes(), "reading back writes nothing")
	require.Contains(t, []ledger.Outcome{ledger.InPlace, ledger.NotInPlace}, out, "%s %s: it can tell", f.Verb, f.Line)
	return out
}

// lost forgets, after each effect, what the adapter wrote down here, as where a process dies after
// the call: what was applied reads back all the same, and reading back writes it down again.
func (s AdapterSuite) lost(t *testing.T) {
	r := s.New(t)
	for _, e := range s.Events(r.Tenant) {
		plan, err := r.Adapter.Plan(t.Context(), r.Tenant, e)
		if err != nil {
			continue
		}
		for _, f := range plan {
			kept := Dump(t, r.Pool, r.Schema, r.Tables)
			_, err := r.Adapter.Apply(t.Context(), r.Tenant, e, f)
			if err != nil || f.Class != ledger.ClassC {
				continue
			}
			after := Dump(t, r.Pool, r.Schema, r.Tables)
			restore(t, r, kept)
			require.Equal(t, ledger.InPlace, s.confirm(t, r, e, f), "%s %s", f.Verb, f.Line)
			require.Equal(t, after, Dump(t, r.Pool, r.Schema, r.Tables), "%s: reading back remembers", f.Verb)
		}
	}
}
