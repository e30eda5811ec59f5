package translate

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	pre    = event.TransactionStatusPreContract
	under  = event.TransactionStatusUnderContract
	closed = event.TransactionStatusClosed
)

func TestASaleUnderContractBecomesItsEvents(t *testing.T) {
	t.Parallel()
	s := open(t)
	f := status(under)
	f.Deal.Participants = []event.Participant{
		{Role: event.ParticipantRoleBuyer, Client: true, Contact: event.Contact{FullName: "Mira Holt", Emails: []string{"mira@example.com"}}},
		{Role: event.ParticipantRoleSeller, Contact: event.Contact{FullName: "Otis Marlowe", Phones: []string{"+13125550144"}}},
	}
	f.Deal.Agents = []event.Agent{{AgentKey: "a", Role: event.AgentRolePrimary, Email: "ada@lakeshore.example.com"}}
	version := time.Date(2026, 2, 13, 18, 38, 42, 997e6, time.UTC).UnixMilli()
	s.handle(read(version-1, 1, status(pre)))
	b := s.handle(read(version, 2, f))
	require.Equal(t, []string{"ContactChanged@2", "ContactChanged@2", "DealChanged@2", "TransactionStatusChanged@2"}, types(eventsOf(b)))

	outs := streamtest.Outs(b)
	contact := outs[0].Message.(*event.ContactChanged)
	require.Equal(t, topic.Contacts, outs[0].Topic)
	require.Equal(t, contact.Contact.ContactKey, string(outs[0].Key))
	require.Equal(t, event.Pseudonym([]byte("key of lakeshore"), "email", "mira@example.com"), contact.Contact.ContactKey)
	require.Equal(t, "ada@lakeshore.example.com", contact.AgentEmail)
	require.True(t, contact.Client)
	require.Equal(t, resource("1").Key(), *contact.DealKey)

	change := outs[3].Message.(*event.TransactionStatusChanged)
	require.Equal(t, topic.Deals, outs[3].Topic)
	require.Equal(t, resource("1").Key(), string(outs[3].Key))
	require.Equal(t, pre, *change.Previous)
	require.Equal(t, contact.Contact.ContactKey, change.Deal.Participants[0].Contact.ContactKey)
	require.Equal(t, resource("1").Key(), change.Deal.DealKey)
	o := change.Origin
	require.Equal(t, event.Origin{
		EventID:  event.ID(o.ReadAt, resource("1"), 2, event.TypeTransactionStatusChanged, "").String(),
		Resource: resource("1"), Revision: 2, ReadAt: read(0, 2, f).ReadAt, ChangedAt: o.ChangedAt,
	}, o)
	require.Equal(t, version, o.ChangedAt.UnixMilli())
	for _, out := range outs {
		_, err := s.codec.AppendEncode(t.Context(), nil, out.Topic, out.Message)
		require.NoError(t, err, "what comes out can be written")
	}
}

func TestBackAndForthIsThreeRevisions(t *testing.T) {
	t.Parallel()
	s := open(t)
	var ids []string
	for i, f := range []producers.Facts{status(pre), status(under), status(pre)} {
		for _, e := range s.events(read(int64(i), int64(i+1), f)) {
			ids = append(ids, e.Source().EventID)
		}
	}
	require.Len(t, ids, 6, "a deal and a status each time")
	require.Len(t, unique(ids), 6, "no id comes twice")
	_, _, _, revision := s.row()
	require.EqualValues(t, 3, revision)
}

func TestEqualVersionsAreOrderedByToken(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Len(t, s.events(read(7, 2, status(under))), 2)
	require.Empty(t, s.events(read(7, 1, status(pre))), "an old owner's late snapshot of the same version")
	require.Len(t, s.events(read(7, 3, status(closed))), 2, "the newer one of the same version")
}

func TestAnOldOwnersLateSnapshotIsIgnored(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 1, status(pre)), read(3, 3, status(closed)))
	b := s.handle(read(2, 2, status(under)))
	require.Empty(t, streamtest.Outs(b))
	require.Equal(t, verdict.Skip, b.Results()[0].Verdict.Kind)
	version, token, _, revision := s.row()
	require.Equal(t, []int64{3, 3, 2}, []int64{version, token, revision})
}

func TestTheSameContentIsNoRevisionButMovesOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 1, status(pre)))
	b := s.handle(read(5, 2, status(pre)))
	require.Empty(t, streamtest.Outs(b))
	require.Equal(t, "unchanged", b.Results()[0].Verdict.Cause)
	version, token, _, revision := s.row()
	require.Equal(t, []int64{5, 2, 1}, []int64{version, token, revision})
	require.Empty(t, s.events(read(4, 3, status(under))), "older than the version that was seen unchanged")
}

func TestARedeliveredSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 1, status(pre)))
	require.Empty(t, s.events(read(1, 1, status(pre))))
	_, _, _, revision := s.row()
	require.EqualValues(t, 1, revision)
}

func TestADeletedDealIsGoneAndNamesNobody(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]bool{"remembered": false, "read back": true} {
		s := open(t)
		step := func(m *event.VendorSnapshot) []event.Event {
			if forget {
				s.Forget(topic.Snapshots("plain"), 0)
			}
			return s.events(m)
		}
		f := status(under)
		f.Deal.Participants = []event.Participant{{Role: event.ParticipantRoleBuyer, Contact: event.Contact{Emails: []string{"mira@example.com"}}}}
		step(read(10, 1, f))
		events := step(tombstone(4))
		require.Equal(t, []string{"ContactChanged@2", "DealChanged@2"}, types(events), name)
		require.True(t, events[0].(*event.ContactChanged).Removed)
		deal := events[1].(*event.DealChanged)
		require.Equal(t, []string{"gone"}, deal.Changed)
		require.True(t, deal.Deal.Gone)
		require.Equal(t, under, deal.Deal.Status, "as last known")

		require.Empty(t, step(read(11, 3, status(closed))), "read before the deletion, it revives nothing")
		require.Empty(t, step(tombstone(5)), "gone twice is gone once")
		version, token, goneToken, revision := s.row()
		require.Equal(t, []int64{0, 5, 5, 2}, []int64{version, token, goneToken, revision})

		back := step(read(2, 6, f))
		require.Equal(t, []string{"ContactChanged@3", "DealChanged@3"}, types(back), "it came back, whatever its version")
		require.Equal(t, []string{"gone"}, back[1].(*event.DealChanged).Changed)
		require.False(t, back[0].Source().FirstSight)
	}
}

func TestATombstoneOfAnUnknownRecordOnlyBlocksWhatIsOlder(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Empty(t, s.events(tombstone(5)))
	require.Empty(t, s.events(read(9, 4, status(pre))))
	events := s.events(read(1, 6, status(pre)))
	require.Equal(t, []string{"DealChanged@1", "TransactionStatusChanged@1"}, types(events))
	require.True(t, events[0].Source().FirstSight)
}

func TestAMendedMappingEmitsNothingByItself(t *testing.T) {
	t.Parallel()
	s := open(t)
	first := s.events(read(1, 1, status(pre)))
	s.restart(mended{})
	require.Empty(t, s.events(read(1, 1, status(pre))))
	events := s.events(read(2, 2, status(under)))
	require.Equal(t, []string{"DealChanged@2", "TransactionStatusChanged@2"}, types(events))
	require.NotContains(t, events[0].(*event.DealChanged).Changed, "stage", "both sides are mapped with today's code")
	require.Equal(t, "mended", events[0].(*event.DealChanged).Deal.Stage)

	again := open(t) // the same log through today's code, from the beginning
	again.restart(mended{})
	replayed := again.events(read(1, 1, status(pre)))
	require.Len(t, replayed, len(first))
	for i := range first {
		require.Equal(t, first[i].Source().EventID, replayed[i].Source().EventID, "a mended mapping keeps every id")
	}
}

// mended is tomorrow's mapping.
type mended struct{ plain }

func (m mended) Map(s event.VendorSnapshot) (producers.Facts, error) {
	f, err := m.plain.Map(s)
	if f.Deal != nil {
		f.Deal.Stage = "mended"
	}
	return f, err
}

// stricter is a mapping that no longer takes what it took.
type stricter struct{ plain }

func (m stricter) Map(s event.VendorSnapshot) (producers.Facts, error) {
	f, err := m.plain.Map(s)
	if f.Deal != nil && f.Deal.Status == pre {
		return producers.Facts{}, &producers.ContractError{Path: "/status", Why: "is no status"}
	}
	return f, err
}

func TestARecordThatTodaysMappingNoLongerTakesDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 1, status(pre)))
	s.restart(stricter{})
	events := s.events(read(2, 2, status(under)))
	require.Equal(t, []string{"DealChanged@2", "TransactionStatusChanged@2"}, types(events))
	require.Nil(t, events[1].(*event.TransactionStatusChanged).Previous)
	require.False(t, events[0].Source().FirstSight)
}

func TestABrokenContractParksItsKeyAloneUntilTheMappingIsMended(t *testing.T) {
	t.Parallel()
	s := open(t)
	other := read(1, 2, status(under))
	other.Resource = resource("2")
	s.handle(read(1, 1, status(pre)))
	b := s.handle(raw(2, 3, breaks), other, read(3, 4, status(under)))
	require.Equal(t, verdict.Park, b.Results()[0].Verdict.Kind)
	require.Equal(t, "contract broken: /status", b.Results()[0].Verdict.Cause)
	require.True(t, b.Results()[2].Behind)
	require.Equal(t, []string{"DealChanged@1", "TransactionStatusChanged@1"}, types(eventsOf(b)), "of the other deal")
	_, _, _, revision := s.row()
	require.EqualValues(t, 1, revision, "what is parked did not happen yet")

	s.restart(repaired{}) // released, in order
	require.Equal(t, []string{"DealChanged@2", "TransactionStatusChanged@2"}, types(s.events(raw(2, 3, breaks))))
	require.Equal(t, []string{"DealChanged@3", "TransactionStatusChanged@3"}, types(s.events(read(3, 4, status(under)))))
}

// repaired reads what broke.
type repaired struct{ plain }

func (m repaired) Map(s event.VendorSnapshot) (producers.Facts, error) {
	if string(s.Parts[0].Body) == breaks {
		return status(closed), nil
	}
	return m.plain.Map(s)
}

func TestAPanicOfAMapperParksAndTellsNoValue(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.handle(raw(1, 1, panics))
	v := b.Results()[0].Verdict
	require.Equal(t, verdict.Park, v.Kind)
	require.Equal(t, "mapping panicked", v.Cause)
	require.NotContains(t, v.Error(), "anything")
}

func TestWhatCannotBeTranslatedHasItsVerdict(t *testing.T) {
	t.Parallel()
	s := open(t)
	strange := read(1, 1, status(pre))
	strange.Resource.Vendor = "unheard of"
	late := read(1, 1, status(pre))
	late.Resource.Tenant = "late"
	moved := s.record(read(1, 1, status(pre)))
	moved.Key = []byte("another key")
	message := streamtest.Record(topic.Snapshots("plain"), 99, "x", &event.WebhookReceived{})
	b := streamtest.MustHandle(t, s.Translator, s.pool, s.record(strange), s.record(late), moved, message)
	require.Equal(t, verdict.Park, b.Results()[0].Verdict.Kind)
	require.Equal(t, verdict.Hold, b.Results()[1].Verdict.Kind)
	require.Equal(t, verdict.TenantScope("late"), b.Results()[1].Verdict.Scope)
	require.False(t, b.Results()[1].Verdict.Until.IsZero(), "it is looked at again by itself")
	require.Equal(t, verdict.Park, b.Results()[2].Verdict.Kind)
	require.Equal(t, verdict.Skip, b.Results()[3].Verdict.Kind)
	s.tenants.late = true
	require.Equal(t, []string{"DealChanged@1", "TransactionStatusChanged@1"}, types(s.events(late)), "its file came")
}

func TestUnknownStatusesAreCountedAndFlow(t *testing.T) {
	t.Parallel()
	s := open(t)
	f := status(event.TransactionStatusUnknown)
	f.Drift = []producers.Drift{{Path: "/status", Kind: producers.DriftUnknownValue, What: "Attorney Review"}}
	require.Len(t, s.events(read(1, 1, f)), 2)
	s.handle(read(1, 1, f)) // a redelivery counts nothing
	require.NoError(t, testutil.GatherAndCompare(s.metrics, strings.NewReader(`
# HELP conveyance_drift_total Fields and values in accepted snapshots that the vendor's contract does not know.
# TYPE conveyance_drift_total counter
conveyance_drift_total{kind="unknown-value",path="/status",vendor="plain",what="Attorney Review"} 1
`), "conveyance_drift_total"))
}

func TestNothingIsRememberedOfABatchThatWasNotCommitted(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 1, status(pre)))
	lost := s.record(read(2, 2, status(under)))
	b := stream.NewBatchOf(lost.Topic, 0, lost)
	require.NoError(t, s.Handle(t.Context(), b)) // and its outputs never reached Kafka
	again := s.events(read(2, 2, status(under)))
	require.Equal(t, types(eventsOf(b)), types(again))
	require.Equal(t, eventsOf(b), again)

	rolled := s.record(read(3, 3, status(closed)))
	b = stream.NewBatchOf(rolled.Topic, 0, rolled)
	require.NoError(t, s.Handle(t.Context(), b))
	err := postgres.Tx(t.Context(), s.pool, func(tx pgx.Tx) error {
		require.NoError(t, b.Write(t.Context(), tx))
		return errLost
	})
	require.ErrorIs(t, err, errLost)
	s.Forget(rolled.Topic, 0) // as the engine does
	require.Equal(t, eventsOf(b), s.events(read(3, 3, status(closed))))
}

func TestRevisionsAreKeptByTokenForEver(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.handle(read(1, 11, status(pre)), read(2, 12, status(pre)), read(3, 13, status(under)), tombstone(14))
	rows, err := s.pool.Query(t.Context(), postgres.In(s.schema, "SELECT token, revision FROM {schema}.translate_revision ORDER BY token"))
	require.NoError(t, err)
	type pair struct{ Token, Revision int64 }
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pair])
	require.NoError(t, err)
	require.Equal(t, []pair{{11, 1}, {13, 2}, {14, 3}}, got)
}

func TestAMissingTableStallsTheBatch(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := s.pool.Exec(t.Context(), postgres.In(s.schema, "DROP TABLE {schema}.translate_state"))
	require.NoError(t, err)
	_, err = streamtest.Handle(t.Context(), s.Translator, s.pool, s.record(read(1, 1, status(pre))))
	require.Equal(t, verdict.Stall, verdict.Of(err).Kind)
}

func unique(list []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		out[s] = true
	}
	return out
}
