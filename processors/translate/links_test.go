package translate

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/verdict"
	"conveyance/processors/link"
	"conveyance/producers"
)

func TestASignedEnvelopeIsTiedToItsDealAndTellsIt(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.feed(of(resource("1"), 1, claiming("1420 Larkspur Lane", id("1"))))
	b.log = nil
	e := envelope("e")
	require.Nil(t, b.feed(of(e, 2, signed(e, nil, id("1"))))[0], "an envelope that nobody signed needs no deal")
	require.Empty(t, b.told())
	b.feed(of(e, 3, signed(e, []string{"mira"}, id("1"))))
	outs := b.log
	require.Equal(t, []string{"linked e to 1 by DEAL_FIELD #1", "mira signed e of 1"}, b.told())
	require.Equal(t, topic.Links, outs[0].Topic)
	require.Equal(t, e.Key(), string(outs[0].Key))
	require.Equal(t, topic.Deals, outs[1].Topic)
	require.Equal(t, resource("1").Key(), string(outs[1].Key))
	linked, document := outs[0].Message.(*event.ResourceLinked), outs[1].Message.(*event.DocumentSigned)
	require.Len(t, linked.Evidence, 1)
	require.Nil(t, linked.Actor)
	require.EqualValues(t, 1, linked.Origin.Revision)
	require.Equal(t, "1420 Larkspur Lane", document.Deal.Name)
	require.Equal(t, resource("1").Key(), document.Deal.DealKey)
	o := document.Origin
	require.Equal(t, event.ID(o.ReadAt, e, 2, event.TypeDocumentSigned, o.Subject).String(), o.EventID)
	require.EqualValues(t, 2, o.Revision)
	require.NotContains(t, o.Subject, "#")
	for _, out := range outs {
		_, err := b.codec.AppendEncode(t.Context(), nil, out.Topic, out.Message)
		require.NoError(t, err, "what comes out can be written")
	}

	b.restart()
	b.feed(of(e, 4, signed(e, []string{"mira", "otis"}, id("1"))))
	require.Equal(t, []string{"otis signed e of 1"}, b.told(), "only what is new, under the same deal")
}

func TestAnEnvelopeBeforeItsDealWaitsAndFlowsInOrder(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	v := b.feed(of(e, 1, signed(e, []string{"mira"}, id("1"))), of(e, 2, signed(e, []string{"mira", "otis"}, id("1"))))
	require.Equal(t, verdict.Hold, v[0].Kind)
	require.Equal(t, "no deal yet", v[0].Cause)
	require.Equal(t, verdict.LinkScope(e.Key()), v[0].Scope)
	b.feed(of(e, 3, signed(e, []string{"mira", "otis", "uma"}, id("1"))))
	require.Equal(t, []string{"e"}, b.unlinked())
	b.feed(of(resource("2"), 4, claiming("another", id("2"))))
	require.Empty(t, b.woken())
	b.feed(of(resource("1"), 5, claiming("its own", id("1"))))
	require.Equal(t, []string{e.Key()}, b.woken())
	require.Empty(t, b.told())
	b.drain()
	require.Equal(t, []string{
		"linked e to 1 by DEAL_FIELD #1", "mira signed e of 1", "otis signed e of 1", "uma signed e of 1",
	}, b.told())
	require.Empty(t, b.unlinked())
	require.Zero(t, b.count("SELECT count(*) FROM {schema}.waiting_claim"))
}

func TestWhatTheVendorCorrectsWhileItWaitsCounts(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("its own", id("1"))))
	b.feed(of(e, 2, signed(e, []string{"mira"}, id("wrong"))))
	b.feed(of(e, 3, signed(e, []string{"mira", "otis"}, id("1"))))
	b.log = nil
	b.settle(false, b.queue[e.Key()]...) // its time has come
	require.Equal(t, []string{"linked e to 1 by DEAL_FIELD #1", "mira signed e of 1", "otis signed e of 1"}, b.told())
}

func TestAnotherTenantsDealNeverMatches(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e, other := envelope("e"), resource("1")
	other.Tenant = "prairie"
	b.feed(of(other, 1, claiming("theirs", id("1"))))
	require.Equal(t, verdict.Hold, b.feed(of(e, 2, signed(e, []string{"mira"}, id("1"))))[0].Kind)
	b.feed(of(other, 3, claiming("theirs, changed", id("1"), claim(producers.ClaimMLS, "9"))))
	require.Empty(t, b.woken())
	_, err := b.desk.Set(t.Context(), e.Key(), other.Key(), "ada", "")
	require.ErrorIs(t, err, link.ErrOtherTenant)
	// Even where two tenants had one key, the tenant counts.
	_, err = b.pool.Exec(t.Context(), inSchema(b, "UPDATE {schema}.deal_claim SET claim = (SELECT claim FROM {schema}.waiting_claim)"+
		" WHERE kind = 'deal_id'"))
	require.NoError(t, err)
	b.settle(false, b.queue[e.Key()]...)
	require.NotEmpty(t, b.queue[e.Key()])
}

func TestADealThatIsGoneOrLosesAClaimClaimsItNoMore(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	kinds := func() int {
		return b.count("SELECT count(*) FROM {schema}.deal_claim WHERE deal_key = $1", resource("1").Key())
	}
	b.feed(of(resource("1"), 1, claiming("a", id("1"), claim(producers.ClaimMLS, "7"))))
	require.Equal(t, 2, kinds())
	b.feed(of(resource("1"), 2, claiming("a", id("1"))))
	require.Equal(t, 1, kinds())
	gone := of(resource("1"), 3, producers.Facts{})
	gone.Gone, gone.Parts, gone.Digest = true, nil, producers.Digest(nil)
	b.feed(gone)
	require.Zero(t, kinds())
	b.feed(of(resource("1"), 4, claiming("a", id("1"))))
	require.Equal(t, 1, kinds(), "it came back")
}

func TestADealThatLosesAClaimWakesWhomItKeptInDoubt(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	mls := claim(producers.ClaimMLS, "7")
	b.feed(of(resource("1"), 1, claiming("a", id("1"), mls)), of(resource("2"), 2, claiming("b", id("2"), mls)))
	e := envelope("e")
	b.feed(of(e, 3, signed(e, []string{"mira"}, mls)))
	require.Empty(t, b.told())
	b.feed(of(resource("2"), 4, claiming("b", id("2"))))
	b.drain()
	require.Equal(t, []string{"linked e to 1 by MLS_OR_ESCROW #1", "mira signed e of 1"}, b.told())
}

// Claims are written only where they differ from those that were written, whoever looks.
func TestClaimsAreWrittenOnceUntilTheyDiffer(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	writes := &counting{linker: b.linker}
	again := func() { b.restart(); writes.linker, b.linker = b.linker, writes }
	again()
	b.feed(of(resource("1"), 1, claiming("a", id("1"))))
	require.Equal(t, 1, writes.deals)
	b.feed(of(resource("1"), 2, claiming("b", id("1"))))
	require.Equal(t, 1, writes.deals, "remembered")
	again()
	b.feed(of(resource("1"), 3, claiming("c", id("1"))))
	require.Equal(t, 1, writes.deals, "read back")
	b.feed(of(resource("1"), 4, claiming("c", id("1"), claim(producers.ClaimMLS, "7"))))
	require.Equal(t, 2, writes.deals)
	_, err := b.pool.Exec(t.Context(), inSchema(b, "UPDATE {schema}.translate_state SET claims = 0"))
	require.NoError(t, err)
	again()
	b.feed(of(resource("1"), 5, claiming("d", id("1"), claim(producers.ClaimMLS, "7"))))
	require.Equal(t, 3, writes.deals, "a deal from before there were claims, or of another mapping")
}

func TestACrashBetweenDecisionAndProduceDecidesTheSame(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"), claim(producers.ClaimMLS, "7"))))
	b.log = nil
	r := b.recordOf(of(e, 2, signed(e, []string{"mira"}, claim(producers.ClaimMLS, "7"))))
	b.attempt(r)
	first := b.log
	require.Equal(t, []string{"linked e to 1 by MLS_OR_ESCROW #1", "mira signed e of 1"}, b.told())
	b.restart()
	// What would be decided now is another deal, or nothing at all.
	b.feed(of(resource("1"), 3, claiming("a", id("1"))), of(resource("2"), 4, claiming("b", id("2"), claim(producers.ClaimMLS, "7"))))
	b.log = nil
	b.settle(true, r)
	require.Len(t, b.log, 2)
	for i := range first {
		was, is := first[i].Message.(event.Event), b.log[i].Message.(event.Event)
		require.Equal(t, was.Source(), is.Source())
	}
	require.Equal(t, first[0].Message, b.log[0].Message, "equal id, equal content")
	require.Equal(t, []string{"linked e to 1 by MLS_OR_ESCROW #1", "mira signed e of 1"}, b.told())
}

// Two owners decide at once, each by what it saw: both are told what the first wrote.
func TestADecisionIsWrittenOnceWhoeverDecides(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	r := link.Record{
		Resource: envelope("e").Key(), Tenant: "lakeshore",
		Claims: link.Claims([]byte("key of lakeshore"), []producers.Claim{id("1")}, nil),
	}
	decide := func() link.Links {
		all, err := b.linker.Decide(t.Context(), []link.Record{r})
		require.NoError(t, err)
		return all[r.Resource]
	}
	b.feed(of(resource("1"), 1, claiming("a", id("1"))))
	first := decide()
	require.Equal(t, resource("1").Key(), first.Decisions[0].Deal)
	b.feed(of(resource("1"), 2, claiming("a", id("9"))), of(resource("2"), 3, claiming("b", id("1"))))
	require.Equal(t, first, decide())
}

func TestSetUndoAndSetAgainTakeBackAndTellAnew(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"))), of(resource("2"), 2, claiming("b", id("2"))))
	b.feed(of(e, 3, signed(e, []string{"mira"}, id("1"))))
	b.feed(of(e, 4, signed(e, []string{"mira", "otis"}, id("1"))))
	all := b.log
	b.told()
	steps := []struct {
		do   func() (link.Decision, error)
		want []string
	}{
		{
			func() (link.Decision, error) { return b.desk.Undo(t.Context(), e.Key(), "ada", "wrong deal") },
			[]string{"unlinked e from 1 #2"},
		},
		{
			func() (link.Decision, error) { return b.desk.Set(t.Context(), e.Key(), resource("2").Key(), "ada", "") },
			[]string{"linked e to 2 by PERSON #3", "mira signed e of 2", "otis signed e of 2"},
		},
		{
			func() (link.Decision, error) { return b.desk.Set(t.Context(), e.Key(), resource("1").Key(), "bo", "") },
			[]string{"unlinked e from 2 #4", "linked e to 1 by PERSON #5", "mira signed e of 1", "otis signed e of 1"},
		},
		{
			func() (link.Decision, error) { return b.desk.Set(t.Context(), e.Key(), resource("1").Key(), "bo", "") }, nil,
		},
	}
	for _, s := range steps {
		_, err := s.do()
		require.NoError(t, err)
		all = append(all, b.log...)
		require.Equal(t, s.want, b.told())
	}
	ids := map[string]bool{}
	var decided time.Time
	for _, o := range all {
		if l, ok := o.Message.(*event.ResourceLinked); ok {
			decided = l.Origin.ReadAt
		}
		if d, ok := o.Message.(*event.DocumentSigned); ok && strings.Contains(d.Origin.Subject, "#") {
			require.Equal(t, decided, event.IDTime(uuid.MustParse(d.Origin.EventID)), "told again is told now: its id lies in this month")
		}
		if e, ok := o.Message.(event.Event); ok {
			require.False(t, ids[e.Source().EventID], "an id comes once")
			ids[e.Source().EventID] = true
		}
	}
	b.feed(of(e, 5, signed(e, []string{"mira", "otis", "uma"}, id("1"))))
	require.Equal(t, "#5", subjectEnd(b.log[0].Message))
	require.Equal(t, []string{"uma signed e of 1"}, b.told())

	history, err := b.desk.History(t.Context(), e.Key())
	require.NoError(t, err)
	require.Len(t, history, 5)
	require.Equal(t, "ada", *history[1].Actor)
	require.Equal(t, "wrong deal", history[1].Reason)
	ofDeal, err := b.desk.OfDeal(t.Context(), resource("1").Key())
	require.NoError(t, err)
	require.Equal(t, history[4:], ofDeal)
	ofDeal, err = b.desk.OfDeal(t.Context(), resource("2").Key())
	require.NoError(t, err)
	require.Empty(t, ofDeal)
}

func TestWhatAPersonUndidIsNeverLinkedByTheLadder(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"))))
	b.feed(of(e, 2, signed(e, []string{"mira"}, id("1"))))
	_, err := b.desk.Undo(t.Context(), e.Key(), "ada", "wrong")
	require.NoError(t, err)
	b.told()
	require.Equal(t, []string{"e"}, b.unlinked(), "listed, though nothing of it waits in the queue")
	b.restart()
	v := b.feed(of(e, 3, signed(e, []string{"mira", "otis"}, id("1"))))
	require.Equal(t, "link undone", v[0].Cause)
	b.feed(of(resource("1"), 4, claiming("a", id("1"), claim(producers.ClaimMLS, "7"))))
	require.Empty(t, b.woken(), "no deal's claims wake it")
	_, err = b.desk.Undo(t.Context(), e.Key(), "ada", "again")
	require.ErrorIs(t, err, link.ErrNotLinked)

	_, err = b.desk.Set(t.Context(), e.Key(), resource("1").Key(), "ada", "right after all")
	require.NoError(t, err)
	require.Equal(t, []string{e.Key()}, b.woken())
	b.drain()
	require.Equal(t, []string{"linked e to 1 by PERSON #3", "mira signed e of 1", "otis signed e of 1"}, b.told())
	require.Empty(t, b.unlinked())
}

func TestAPersonDecidesAboutWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"), claim(producers.ClaimEmail, "mira@example.com"))))
	b.feed(of(e, 2, signed(e, []string{"mira"}, claim(producers.ClaimEmail, "mira@example.com"))))
	u, err := b.desk.Suggest(t.Context(), e.Key())
	require.NoError(t, err)
	require.Equal(t, []link.Suggestion{{Deal: resource("1").Key(), Matches: []string{producers.ClaimEmail}}}, u.Deals)
	require.Equal(t, []string{producers.ClaimEmail}, u.Claims)

	for _, wrong := range []struct {
		resource, deal string
		err            error
	}{
		{envelope("nobody's").Key(), resource("1").Key(), link.ErrUnknown},
		{"no key", resource("1").Key(), link.ErrUnknown},
		{e.Key(), resource("9").Key(), link.ErrNoDeal},
		{e.Key(), "no key", link.ErrNoDeal},
	} {
		_, err := b.desk.Set(t.Context(), wrong.resource, wrong.deal, "ada", "")
		require.ErrorIs(t, err, wrong.err)
	}
	d, err := b.desk.Set(t.Context(), e.Key(), resource("1").Key(), "ada", "she told me")
	require.NoError(t, err)
	require.Len(t, d.Evidence, 1, "what speaks for it all the same")
	b.drain()
	require.Equal(t, []string{"linked e to 1 by PERSON #1", "mira signed e of 1"}, b.told()[0:2])
	_, err = b.desk.Suggest(t.Context(), e.Key())
	require.ErrorIs(t, err, link.ErrUnknown)
}

func TestARedeliveredNudgeTellsNothingTwice(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"))))
	b.feed(of(e, 2, signed(e, []string{"mira"}, id("1"))))
	_, err := b.desk.Undo(t.Context(), e.Key(), "ada", "wrong")
	require.NoError(t, err)
	b.told()
	for range 2 {
		require.NoError(t, b.Nudge(t.Context(), e))
		require.Empty(t, b.told())
	}
	require.ErrorIs(t, b.Nudge(t.Context(), envelope("unread")), errNoSnapshot)
}

// A decision stands though its nudge was lost: the next look at the record tells it, and so does the
// person who says it again.
func TestADecisionWhoseNudgeWasLostIsToldLater(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	b.feed(of(resource("1"), 1, claiming("a", id("1"))), of(resource("2"), 2, claiming("b", id("2"))))
	b.feed(of(e, 3, signed(e, []string{"mira"}, id("1"))))
	b.told()
	deaf := link.NewDesk(b.pool, b.schema, nil)
	_, err := deaf.Set(t.Context(), e.Key(), resource("2").Key(), "ada", "")
	require.NoError(t, err)
	require.Empty(t, b.told())
	b.feed(of(e, 4, signed(e, []string{"mira", "otis"}, id("1"))))
	require.Equal(t, []string{
		"otis signed e of 1", "unlinked e from 1 #2", "linked e to 2 by PERSON #3", "mira signed e of 2", "otis signed e of 2",
	}, b.told())
	_, err = deaf.Undo(t.Context(), e.Key(), "ada", "no")
	require.NoError(t, err)
	_, err = deaf.Set(t.Context(), e.Key(), resource("1").Key(), "ada", "")
	require.NoError(t, err)
	_, err = b.desk.Set(t.Context(), e.Key(), resource("1").Key(), "ada", "")
	require.NoError(t, err)
	require.Equal(t, []string{
		"unlinked e from 2 #4", "linked e to 1 by PERSON #5", "mira signed e of 1", "otis signed e of 1",
	}, b.told())
}

// The deal's claims, or a person's word, commit between the ladder's look and the hold.
func TestADealThatComesBetweenTheLookAndTheHoldIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, come := range map[string]func(b *bureau, e event.Resource){
		"a deal's claims": func(b *bureau, _ event.Resource) {
			b.feed(of(resource("1"), 5, claiming("a", id("1"))))
		},
		"a person's word": func(b *bureau, e event.Resource) {
			b.feed(of(resource("1"), 5, claiming("a", id("2"))))
			_, err := b.pool.Exec(b.t.Context(), inSchema(b, `INSERT INTO {schema}.link_decision
				SELECT $1, 1, 'lakeshore', $2, 'PERSON', '', 'ada', '', now()`), e.Key(), resource("1").Key())
			require.NoError(b.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBureau(t)
			e := envelope("e")
			b.meanwhile = func() { b.meanwhile = nil; come(b, e) }
			require.Equal(t, verdict.Hold, b.feed(of(e, 2, signed(e, []string{"mira"}, id("1"))))[0].Kind)
			require.Equal(t, []string{e.Key()}, b.woken())
			b.told()
			b.drain()
			require.Contains(t, b.told(), "mira signed e of 1")
		})
	}
}

// While a deal's claims are being written nobody can say whether they match: who begins to wait then
// looks again, and waits for nobody.
func TestWhoBeginsToWaitWhileClaimsAreWrittenLooksAgain(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }() // or the pool would wait for it where the test fails
	claims := link.Claims([]byte("key of lakeshore"), []producers.Claim{id("1")}, nil)
	require.NoError(t, b.linker.Write(t.Context(), tx, link.Changes{
		Deals: []link.Deal{{Key: resource("1").Key(), Tenant: "lakeshore", Claims: claims}},
	}))
	b.feed(of(e, 1, signed(e, []string{"mira"}, id("1"))))
	require.Equal(t, []string{e.Key()}, b.woken())
	require.NoError(t, tx.Commit(t.Context()))
	b.drain()
	require.Equal(t, []string{"linked e to 1 by DEAL_FIELD #1", "mira signed e of 1"}, b.told())
}

func TestOneDealWakesExactlyItsOwn(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	var waiting []*event.VendorSnapshot
	for i := range 1000 {
		e := envelope(strconv.Itoa(i))
		waiting = append(waiting, of(e, int64(i+1), signed(e, []string{"mira"}, id(strconv.Itoa(i%500)))))
	}
	b.feed(waiting...)
	require.Equal(t, 1000, b.count("SELECT count(*) FROM {schema}.queued_key"))
	b.feed(of(resource("7"), 2000, claiming("a", id("7"))))
	require.Equal(t, []string{envelope("507").Key(), envelope("7").Key()}, b.woken())
	b.drain()
	require.Len(t, b.unlinked(), 998)
}

func TestEnvelopesThatCannotBeMappedParkAndTieNothing(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	e := envelope("e")
	bad := of(e, 1, producers.Facts{})
	bad.Parts[0].Body = []byte(breaks)
	v := b.feed(bad)
	require.Equal(t, verdict.Park, v[0].Kind)
	require.Zero(t, b.count("SELECT count(*) FROM {schema}.link_decision"))
}
