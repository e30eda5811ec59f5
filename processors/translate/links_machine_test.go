package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/processors/link"
	"conveyance/producers"
)

// truth is what must be so of links, kept without a queue, a crash or a table: deals by what they claim,
// envelopes by what they claim and who signed, and about each the first deal that the ladder or a
// person found, and what people said since.
type truth struct {
	deals     map[string][]producers.Claim
	envelopes map[string]*paper
}

type paper struct {
	claims  []producers.Claim
	signers []string
	seq     int    // decisions
	deal    string // in force
}

// look has the ladder decide about every signed envelope of which nothing was decided.
func (t *truth) look() {
	deals := map[string][]link.Claim{}
	for key, claims := range t.deals {
		deals[key] = link.Claims([]byte("k"), claims, nil)
	}
	for _, p := range t.envelopes {
		if p.seq > 0 || len(p.signers) == 0 {
			continue
		}
		if r, ok := link.Climb(link.Claims([]byte("k"), p.claims, nil), link.Found{Deals: deals}); ok {
			p.seq, p.deal = 1, r.Deal
		}
	}
}

// told folds the bus as any reader may: the first of each id, and of links the highest number.
type told struct {
	first map[string]string // what an event says, by id
	seqs  map[string]map[int64]string
	under map[string]map[string]bool // record and deal: signers
}

func fold(t require.TestingT, b *bureau) told {
	f := told{map[string]string{}, map[string]map[int64]string{}, map[string]map[string]bool{}}
	for _, o := range b.log {
		e, ok := o.Message.(event.Event)
		if !ok {
			continue
		}
		says := fmt.Sprintf("%s %s", o.Key, e.Type())
		key := e.Source().Resource.Key()
		switch e := e.(type) {
		case *event.ResourceLinked, *event.ResourceUnlinked:
			text, err := json.Marshal(e)
			require.NoError(t, err)
			says += string(text)
			if f.seqs[key] == nil {
				f.seqs[key] = map[int64]string{}
			}
			n, deal := o.Message.(event.Event).Source().Revision, ""
			if l, ok := o.Message.(*event.ResourceLinked); ok {
				deal = l.DealKey
			}
			was, again := f.seqs[key][n]
			require.True(t, !again || was == deal, "a number is one decision")
			require.True(t, n == 1 || f.has(key, n-1), "in order")
			f.seqs[key][n] = deal
		case *event.DocumentSigned:
			says += *e.DealKey + e.Signer.FullName
			at := key + " " + *e.DealKey
			if f.under[at] == nil {
				f.under[at] = map[string]bool{}
			}
			f.under[at][e.Signer.FullName] = true
			require.NotNil(t, e.Deal)
			require.Equal(t, *e.DealKey, e.Deal.DealKey)
		default:
			continue
		}
		if was, again := f.first[e.Source().EventID]; again {
			require.Equal(t, was, says, "equal id, equal content")
		}
		f.first[e.Source().EventID] = says
	}
	return f
}

func (f told) has(key string, n int64) bool { _, ok := f.seqs[key][n]; return ok }

// check compares bus and tables with the truth; nothing may be on its way.
func (t *truth) check(rt *rapid.T, b *bureau) {
	f := fold(rt, b)
	var unlinked []string
	for key, p := range t.envelopes {
		require.Len(rt, f.seqs[key], p.seq, key)
		require.Equal(rt, p.deal, f.seqs[key][int64(p.seq)], key)
		switch {
		case p.deal != "":
			signers := slices.Sorted(maps.Keys(f.under[key+" "+p.deal]))
			want := slices.Clone(p.signers)
			slices.Sort(want)
			require.Equal(rt, slices.Compact(want), signers, "every signature is told under the deal in force")
		case len(p.signers) > 0:
			unlinked = append(unlinked, name(key))
		}
	}
	slices.Sort(unlinked)
	require.Equal(rt, unlinked, b.unlinked())
	all := map[string]bool{}
	for id := range f.first {
		require.False(rt, all[id])
		all[id] = true
	}
}

func TestLinksAgreeWithTheirModelUnderCrashesAndPeople(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.empty()
		m := &machine{rt: rt, b: b, truth: truth{map[string][]producers.Claim{}, map[string]*paper{}}}
		rt.Repeat(map[string]func(*rapid.T){
			"deal":     m.deal,
			"envelope": m.envelope,
			"set":      m.set,
			"undo":     m.undo,
			"owner":    func(*rapid.T) { b.restart() },
			"": func(rt *rapid.T) {
				b.drain()
				m.truth.look()
				m.truth.check(rt, b)
			},
		})
	})
}

// empty forgets all: a bureau is made once, its schema is what takes time.
func (b *bureau) empty() {
	for _, table := range []string{"translate_state", "translate_revision", "deal_claim", "link_decision", "link_acted", "link_wait CASCADE", "queued_key"} {
		_, err := b.pool.Exec(b.t.Context(), postgres.In(b.schema, "TRUNCATE {schema}."+table))
		require.NoError(b.t, err)
	}
	clear(b.queue)
	b.log = nil
	b.restart()
}

type machine struct {
	rt    *rapid.T
	b     *bureau
	truth truth
	token int64
}

// claims draws evidence of every kind, of which deals and envelopes share some.
func (m *machine) claims(t *rapid.T) []producers.Claim {
	var out []producers.Claim
	for _, kind := range []string{producers.ClaimDealID, producers.ClaimMLS, producers.ClaimEmail, producers.ClaimEmail, producers.ClaimAddress} {
		if n := rapid.IntRange(0, 3).Draw(t, kind); n > 1 {
			out = append(out, claim(kind, strconv.Itoa(n)))
		}
	}
	return out
}

func (m *machine) feed(t *rapid.T, s *event.VendorSnapshot) {
	if m.b.queue[s.Resource.Key()] == nil && rapid.IntRange(0, 3).Draw(t, "crash") == 0 {
		r := m.b.recordOf(s)
		m.b.attempt(r)
		m.b.Forget(r.Topic, 0)
		if rapid.Bool().Draw(t, "a person comes first") {
			m.said(t, s.Resource.Key())
		}
		m.b.settle(true, r)
		return
	}
	m.b.feed(s)
}

// said has a person undo what was decided by an attempt that crashed.
func (m *machine) said(t *rapid.T, key string) {
	p, ok := m.truth.envelopes[key]
	if !ok {
		return
	}
	m.truth.look()
	if _, err := m.b.desk.Undo(m.b.t.Context(), key, "ada", "no"); err == nil {
		require.NotEmpty(t, p.deal)
		p.seq, p.deal = p.seq+1, ""
	}
}

func (m *machine) deal(t *rapid.T) {
	m.token++
	r := resource(strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "deal")))
	if len(m.truth.deals[r.Key()]) > 0 && rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
		s := of(r, m.token, producers.Facts{})
		s.Gone, s.Parts, s.Digest = true, nil, producers.Digest(nil)
		delete(m.truth.deals, r.Key())
		m.feed(t, s)
		return
	}
	claims := m.claims(t)
	m.truth.deals[r.Key()] = claims
	m.feed(t, of(r, m.token, claiming(strconv.FormatInt(m.token, 10), claims...)))
}

func (m *machine) envelope(t *rapid.T) {
	m.token++
	e := envelope(strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "envelope")))
	p := m.truth.envelopes[e.Key()]
	if p == nil {
		p = &paper{claims: m.claims(t)}
		m.truth.envelopes[e.Key()] = p
	}
	if rapid.IntRange(0, 3).Draw(t, "signs") > 0 {
		p.signers = append(p.signers, fmt.Sprint("signer", len(p.signers)))
	}
	m.feed(t, of(e, m.token, signed(e, p.signers, p.claims...)))
}

func (m *machine) pick(t *rapid.T) (string, *paper) {
	keys := slices.Sorted(maps.Keys(m.truth.envelopes))
	if len(keys) == 0 {
		t.Skip("no envelope")
	}
	key := rapid.SampledFrom(keys).Draw(t, "envelope")
	return key, m.truth.envelopes[key]
}

func (m *machine) set(t *rapid.T) {
	key, p := m.pick(t)
	deal := resource(strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "deal"))).Key()
	_, err := m.b.desk.Set(m.b.t.Context(), key, deal, "ada", "")
	switch {
	case len(m.truth.deals[deal]) == 0:
		require.ErrorIs(t, err, link.ErrNoDeal)
	case p.deal == deal:
		require.NoError(t, err)
	default:
		require.NoError(t, err)
		if p.deal != "" {
			p.seq++
		}
		p.seq, p.deal = p.seq+1, deal
	}
}

func (m *machine) undo(t *rapid.T) {
	key, p := m.pick(t)
	_, err := m.b.desk.Undo(m.b.t.Context(), key, "ada", "no")
	if p.deal == "" {
		require.ErrorIs(t, err, link.ErrNotLinked)
		return
	}
	require.NoError(t, err)
	p.seq, p.deal = p.seq+1, ""
}
