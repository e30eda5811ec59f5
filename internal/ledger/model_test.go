package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// book is the reference: what a partition's tables hold by the protocol alone, in memory.
type book struct {
	t       *rapid.T
	s       tables
	at      ledger.Place
	tenant  string
	base    int64 // of its events' numbers
	owner   uuid.UUID
	seq     int64
	next    int64
	last    *ledger.Turn // the owner's last one
	rows    map[ledger.ID]row
	facets  map[ledger.Facet]stood // Revision 0 in the key
	keys    map[string]waits
	records map[int64]ledger.RecordState
	gap     bool
	hands   []*hand
}

type row struct {
	state ledger.State
	owner uuid.UUID
	pos   int64
}

type stood struct {
	revision int64
	eid      uuid.UUID
}

type waits struct {
	kind   ledger.Kind
	wanted bool
}

// hand is an owner, perhaps a fenced one that does not know it.
type hand struct {
	token uuid.UUID
	seq   int64
	turns []*ledger.Turn
}

// Offsets, ledger, guards and queue after any sequence of claims, turns, turns that come again or late
// from a fenced owner, wishes and purges are those of the reference (protocol.md 1, 5–7, 14, 25, 27,
// 37–39, 43). A longer run: task models.
func TestTablesAreThoseOfTheReferenceAfterAnySequence(t *testing.T) {
	t.Parallel()
	s := open(t)
	runs := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		b := &book{
			t: rt, s: s, at: ledger.Place{Topic: fmt.Sprint("model", runs)}, tenant: fmt.Sprint("tenant", runs), base: 10 * runs,
			rows: map[ledger.ID]row{}, facets: map[ledger.Facet]stood{}, keys: map[string]waits{}, records: map[int64]ledger.RecordState{},
		}
		b.claim(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"claim": b.claim, "turn": b.turn, "turn of a later owner": b.turn, "one more turn": b.turn, "again": b.again,
			"wake": b.wake, "purge": b.purge,
		})
		b.compare()
	})
}

func (b *book) claim(*rapid.T) {
	b.owner, b.seq, b.last = b.s.owner(b.at)[b.at], 1, nil
	b.hands = append(b.hands, &hand{token: b.owner, seq: 1})
}

// event is one of few, so that they meet; those of a facet have rising revisions.
func (b *book) event(rt *rapid.T) (ledger.ID, ledger.Facet) {
	n := rapid.Int64Range(1, 4).Draw(rt, "event")
	facet := ledger.Facet{}
	if n%2 == 0 {
		facet = ledger.Facet{Resource: b.at.Topic, Name: "stage", Revision: n}
	}
	return ledger.ID{EID: id(b.base + n)}, facet
}

func (b *book) turn(rt *rapid.T) {
	h := b.hands[len(b.hands)-1]
	if rapid.IntRange(0, 4).Draw(rt, "hand") == 0 {
		h = rapid.SampledFrom(b.hands).Draw(rt, "which")
	}
	h.seq++
	turn := &ledger.Turn{Moves: []ledger.Move{{Place: b.at, Owner: h.token, Seq: h.seq, Next: b.next + rapid.Int64Range(0, 3).Draw(rt, "on")}}}
	what := rapid.SampledFrom([]string{"want", "want", "end", "end", "unclaim", "guard", "queue", "mark", "free", "discard"}).Draw(rt, "what")
	key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
	pos := rapid.Int64Range(0, 5).Draw(rt, "pos")
	one, facet := b.event(rt)
	switch what {
	case "want":
		w := ledger.Want{
			Place: b.at, ID: one, Owner: h.token, Pos: pos, KeyID: key, Tenant: b.tenant, Facet: facet,
			Class: rapid.SampledFrom([]ledger.Class{ledger.ClassB, ledger.ClassC, ledger.ClassD}).Draw(rt, "class"),
		}
		switch rapid.IntRange(0, 5).Draw(rt, "word") {
		case 0:
			w.FromParked = true
		case 1:
			w.FromUnknown = true
		case 2:
			w.InPlace = true
		}
		turn.Wants = []ledger.Want{w}
	case "end":
		ends := []ledger.State{ledger.Applied, ledger.Superseded, ledger.Parked, ledger.Unknown, ledger.Refused}
		turn.Ends = []ledger.End{{Place: b.at, ID: one, Pos: pos, KeyID: key, Owner: h.token, State: rapid.SampledFrom(ends).Draw(rt, "state")}}
	case "unclaim":
		turn.Unclaims = []ledger.Unclaim{{Place: b.at, ID: one, Owner: h.token}}
	case "guard":
		if facet.Revision > 0 {
			turn.Guards = []ledger.Guard{{Place: b.at, Facet: facet, EID: one.EID}}
		}
	case "queue":
		kind := rapid.SampledFrom([]ledger.Kind{ledger.Waiting, ledger.HeldScope, ledger.ParkedKey}).Draw(rt, "kind")
		turn.Keys = []ledger.QueuedKey{{Place: b.at, KeyID: key, Tenant: b.tenant, Kind: kind, Scope: b.scope(), Cause: "x", Count: 1}}
		turn.Records = []ledger.QueuedRecord{{Place: b.at, Pos: pos, KeyID: key, Cause: "x"}}
	case "mark":
		ends := []ledger.RecordState{ledger.RecordDone, ledger.RecordDropped}
		turn.Marks = []ledger.Mark{{Place: b.at, Pos: pos, State: rapid.SampledFrom(ends).Draw(rt, "state"), Cause: "x"}}
	case "free":
		turn.Freed = []ledger.KeyRef{{Place: b.at, KeyID: key}}
	case "discard":
		turn.Discards = []ledger.Discard{{Place: b.at, EID: one.EID}}
	}
	h.turns = append(h.turns, turn)
	b.commit(turn)
}

// again is a commit whose answer was lost, repeated at once or landing late.
func (b *book) again(rt *rapid.T) {
	h := rapid.SampledFrom(b.hands).Draw(rt, "whose")
	if len(h.turns) > 0 {
		b.commit(rapid.SampledFrom(h.turns).Draw(rt, "which"))
	}
}

func (b *book) scope() verdict.Scope { return verdict.Scope("scope:" + b.at.Topic) }

// commit does in both worlds what a turn says, and compares what is said of it.
func (b *book) commit(turn *ledger.Turn) {
	res := b.s.commit(turn)
	m := turn.Moves[0]
	fate := ledger.Fenced
	switch {
	case turn == b.last:
		fate = ledger.Before
	case m.Owner == b.owner && m.Seq == b.seq+1:
		fate = ledger.Moved
	}
	require.Equal(b.t, fate, res.Fates[b.at])
	if fate == ledger.Moved {
		b.seq, b.next, b.last = m.Seq, m.Next, turn
		b.write(turn)
	}
	if len(turn.Wants) == 0 {
		return
	}
	if fate == ledger.Fenced {
		require.Zero(b.t, res.Answers[0])
		return
	}
	w := turn.Wants[0]
	want := b.rule(w)
	require.Equal(b.t, want, ledger.Answer{Ruling: res.Answers[0].Ruling, State: res.Answers[0].State}, "%+v", w)
	if fate == ledger.Moved {
		b.obey(w, want)
	}
}

func (b *book) write(turn *ledger.Turn) {
	for _, u := range turn.Unclaims {
		if r := b.rows[u.ID]; r.state == ledger.Claimed && r.owner == u.Owner {
			delete(b.rows, u.ID)
		}
	}
	for _, e := range turn.Ends {
		switch r, there := b.rows[e.ID]; {
		case !there:
			b.rows[e.ID] = row{e.State, e.Owner, e.Pos}
		case r.state == ledger.Claimed:
			b.rows[e.ID] = row{e.State, e.Owner, r.pos}
		}
	}
	for _, g := range turn.Guards {
		b.raise(g.Facet, g.EID)
	}
	for _, d := range turn.Discards {
		for one, r := range b.rows {
			if one.EID == d.EID && slices.Contains([]ledger.State{ledger.Claimed, ledger.Parked, ledger.Unknown}, r.state) {
				r.state = ledger.Discarded
				b.rows[one] = r
			}
		}
	}
	for _, k := range turn.Freed {
		delete(b.keys, k.KeyID)
	}
	for _, q := range turn.Records {
		if _, there := b.records[q.Pos]; !there {
			b.records[q.Pos] = ledger.RecordOpen
		}
	}
	for _, k := range turn.Marks {
		if b.records[k.Pos] == ledger.RecordOpen {
			b.records[k.Pos] = k.State
		}
	}
	for _, k := range turn.Keys {
		b.keys[k.KeyID] = waits{kind: k.Kind, wanted: b.keys[k.KeyID].wanted} // a wish that the owner has not seen stays
	}
}

func (b *book) raise(f ledger.Facet, eid uuid.UUID) {
	at := ledger.Facet{Resource: f.Resource, Name: f.Name}
	if f.Resource != "" && b.facets[at].revision < f.Revision {
		b.facets[at] = stood{f.Revision, eid}
	}
}

// rule is what the protocol says to a want.
func (b *book) rule(w ledger.Want) ledger.Answer {
	r, there := b.rows[w.ID]
	stands := b.facets[ledger.Facet{Resource: w.Facet.Resource, Name: w.Facet.Name}]
	newer := w.Facet.Resource != "" && (stands.revision > w.Facet.Revision || stands.revision == w.Facet.Revision && stands.eid != w.EID)
	by := w.Facet.Resource != "" && stands.revision == w.Facet.Revision && stands.eid == w.EID
	switch {
	case there && r.state == ledger.Claimed && r.owner != w.Owner:
		return ledger.Answer{Ruling: ledger.InDoubt, State: ledger.Claimed}
	case there && r.state == ledger.Claimed && r.pos != w.Pos:
		return ledger.Answer{Ruling: ledger.Twin, State: ledger.Claimed}
	case there && (r.state == ledger.Claimed || r.state == ledger.Parked && w.FromParked || r.state == ledger.Unknown && w.FromUnknown):
		return ledger.Answer{Ruling: ledger.Go, State: ledger.Claimed}
	case there && r.state == ledger.Unknown && w.InPlace:
		return ledger.Answer{Ruling: ledger.Ended, State: ledger.Applied}
	case there:
		return ledger.Answer{Ruling: ledger.Ended, State: r.state}
	case newer:
		return ledger.Answer{Ruling: ledger.Ended, State: ledger.Superseded}
	case !b.gap:
		return ledger.Answer{Ruling: ledger.Go, State: ledger.Claimed}
	case by:
		return ledger.Answer{Ruling: ledger.Ended, State: ledger.Applied}
	case w.Facet.Resource != "": // a state: what stands is believed
		return ledger.Answer{Ruling: ledger.Go, State: ledger.Claimed}
	case w.Class == ledger.ClassC:
		return ledger.Answer{Ruling: ledger.ReadBack, State: ledger.Claimed}
	default:
		return ledger.Answer{Ruling: ledger.Ended, State: ledger.Refused}
	}
}

func (b *book) obey(w ledger.Want, a ledger.Answer) {
	r, there := b.rows[w.ID]
	switch {
	case !there:
		b.rows[w.ID] = row{a.State, w.Owner, w.Pos}
	case a.Ruling == ledger.Go, a.State != r.state:
		b.rows[w.ID] = row{a.State, w.Owner, r.pos}
	}
	if a.Ruling == ledger.Ended && a.State == ledger.Applied && there && r.state == ledger.Unknown {
		b.raise(w.Facet, w.EID)
	}
}

func (b *book) wake(rt *rapid.T) {
	n, err := b.s.Wake(b.s.t.Context(), b.scope())
	require.NoError(rt, err)
	var asked int64
	for key, k := range b.keys {
		if k.kind != ledger.ParkedKey {
			b.keys[key] = waits{kind: k.kind, wanted: true}
			asked++
		}
	}
	require.Equal(rt, asked, n)
}

// purge drops what has ended, as a purge does: with its gap.
func (b *book) purge(*rapid.T) {
	ids := make([]uuid.UUID, 0, len(b.rows))
	for one, r := range b.rows {
		if r.state != ledger.Claimed && r.state != ledger.Parked && r.state != ledger.Unknown {
			ids = append(ids, one.EID)
			delete(b.rows, one)
		}
	}
	b.s.exec("INSERT INTO {schema}.ledger_gap (tenant, month) VALUES ($1, '2026-03-01') ON CONFLICT DO NOTHING", b.tenant)
	b.s.exec("DELETE FROM {schema}.ledger WHERE eid = ANY($1)", ids)
	b.gap = true
}

// compare looks at the tables themselves.
func (b *book) compare() {
	ctx, topic := b.s.t.Context(), b.at.Topic
	owner, err := b.s.Owner(ctx, b.at)
	require.NoError(b.t, err)
	require.Equal(b.t, b.owner, owner)
	require.Equal(b.t, b.next, value[int64](b.s, "SELECT next_offset FROM {schema}.consumer_offsets WHERE topic = $1", topic))
	rows := map[ledger.ID]row{}
	found, err := b.s.pool.Query(ctx, postgres.In(b.s.schema, "SELECT eid, step, state, owner, pos FROM {schema}.ledger WHERE topic = $1"), topic)
	require.NoError(b.t, err)
	var one ledger.ID
	var r row
	_, err = pgx.ForEachRow(found, []any{&one.EID, &one.Step, &r.state, &r.owner, &r.pos}, func() error {
		rows[one] = r
		return nil
	})
	require.NoError(b.t, err)
	require.Equal(b.t, b.rows, rows)
	for facet, s := range b.facets {
		require.Equal(b.t, s.revision, value[int64](b.s, "SELECT revision FROM {schema}.versions WHERE resource = $1 AND facet = $2", facet.Resource, facet.Name))
	}
	memory, err := b.s.Read(ctx, []ledger.Place{b.at})
	require.NoError(b.t, err)
	kinds := map[string]ledger.Kind{}
	for _, k := range memory[b.at].Keys {
		kinds[k.KeyID] = k.Kind
	}
	want := map[string]ledger.Kind{}
	var wanted []string
	for _, key := range slices.Sorted(maps.Keys(b.keys)) {
		want[key] = b.keys[key].kind
		if b.keys[key].wanted {
			wanted = append(wanted, key)
		}
	}
	require.Equal(b.t, want, kinds)
	pulse, err := b.s.Pulse(ctx, []ledger.Place{b.at}, nil)
	require.NoError(b.t, err)
	var wishes []string
	for _, w := range pulse.Wishes {
		wishes = append(wishes, w.KeyID)
	}
	require.ElementsMatch(b.t, wanted, wishes)
	at, err := b.s.QueuedAt(ctx, b.at, 0, 100)
	require.NoError(b.t, err)
	require.Len(b.t, at, len(b.records))
}
