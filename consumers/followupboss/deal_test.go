package followupboss_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers/consumerstest"
	"conveyance/consumers/followupboss"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// known returns a new deal whose buyer is in the CRM.
func known(t *testing.T, w *world) *consumerstest.Deal {
	d, e := buyer(t, w)
	w.mustDo(e)
	return d
}

// tell is the deal's next DealChanged, with the fields that it says have changed.
func tell(t *testing.T, d *consumerstest.Deal, changed ...string) *event.DealChanged {
	e := first[*event.DealChanged](t, d.Tell())
	e.Changed = changed
	return e
}

func TestDealWaitsForItsPeople(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := consumerstest.NewDeal(w.tenant, "100")
	d.Status = event.TransactionStatusUnderContract
	events := d.Tell()
	needs := []event.Event{first[*event.DealChanged](t, events), first[*event.TransactionStatusChanged](t, events)}
	scope := verdict.PersonScope("lakeshore", d.Participants[0].Contact.ContactKey)
	for _, e := range needs {
		_, err := w.Plan(t.Context(), w.tenant, e)
		v := verdict.Of(err)
		require.Equal(t, verdict.Hold, v.Kind)
		require.Equal(t, "no person yet", v.Cause)
		require.Equal(t, scope, v.Scope)
		require.WithinDuration(t, time.Now().Add(15*time.Second), v.Until, 5*time.Second)
	}
	require.Equal(t, scope, w.mustDo(first[*event.ContactChanged](t, events)).Wake)
	for _, e := range needs {
		w.mustDo(e)
	}
}

func TestDealFromBeforeGoLiveWaitsForNobodyAndTakesWhoIsThere(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := consumerstest.NewDeal(w.tenant, "100")
	made := consumerstest.Start.Add(-time.Hour)
	d.CreatedAt = &made
	d.Participants = append(d.Participants, d.Person(event.ParticipantRoleBuyer, true, "Known", "known@example.com", ""))
	w.entered(9001, map[string]any{"emails": value("known@example.com")})
	w.mustDo(tell(t, d))
	require.Len(t, w.one("deals")["people"], 1)
	require.Len(t, w.records("people"), 1)
}

func TestDealIsMadeOnceAndCarriesItsReference(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	d.Status, d.SalePrice = event.TransactionStatusUnderContract, consumerstest.USD(512_000)
	d.SalePrice.Minor += 50
	d.ContractDate, d.ProjectedCloseDate = consumerstest.Day(3, 5), consumerstest.Day(4, 10)
	d.Commission = &event.Commission{Gross: consumerstest.USD(15_360)}
	e := tell(t, d)
	require.Equal(t, ledger.NotInPlace, w.outcome(e))
	r := w.mustDo(e)
	got := w.one("deals")
	require.Equal(t, "100 Harbor Lane", got["name"])
	require.Equal(t, "Pending", got["stageName"])
	require.InDelta(t, 512_000.50, got["price"], 0)
	require.InDelta(t, 15_360, got["commissionValue"], 0)
	require.Equal(t, "2026-04-10", got["projectedCloseDate"])
	require.Equal(t, "2026-03-05", got["mutualAcceptanceDate"])
	require.Len(t, got["people"], 1)
	require.Equal(t, "Ada Quill", got["users"].([]any)[0].(map[string]any)["name"])
	require.Equal(t, event.Pseudonym(w.tenant.PseudonymKey, "deal", d.DealKey), got["customConveyanceKey"])
	require.Equal(t, ledger.InPlace, w.outcome(e))
	again := w.mustDo(e)
	require.True(t, again.NoOp)
	require.Equal(t, r.Ref, again.Ref)
}

func TestDealWhoseAnswerWasLostReadsBackAndIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	for name, people := range map[string]int{"with people": 1, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, settings)
			d := known(t, w)
			d.Participants = d.Participants[:people]
			made := time.Now().Add(-time.Hour)
			d.CreatedAt = &made
			e := tell(t, d)
			w.fault("POST /v1/deals", "reset", 1)
			_, err := w.do(e)
			require.Equal(t, verdict.Doubt, verdict.Of(err).Kind, "%v", err)
			require.Equal(t, ledger.InPlace, w.outcome(e))
			require.True(t, w.mustDo(e).NoOp)
			require.Len(t, w.records("deals"), 1)
		})
	}
}

func TestDealLosesOnlyThoseWhomWePutOnIt(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	second := d.Person(event.ParticipantRoleBuyer, true, "Olga", "olga@example.com", "")
	d.Participants = append(d.Participants, second)
	events := d.Tell()
	w.mustDo(first[*event.ContactChanged](t, events))
	id, err := strconv.Atoi(w.mustDo(first[*event.DealChanged](t, events)).Ref)
	require.NoError(t, err)
	people := w.one("deals")["people"].([]any)
	require.Len(t, people, 2)
	w.entered(9001, map[string]any{"firstName": "Lender"})
	people = append(people, map[string]any{"id": 9001, "name": "Lender"})
	w.control("PUT", "deals/"+strconv.Itoa(id)+"?tenant=lakeshore", map[string]any{"people": people})
	d.Participants = d.Participants[:2] // Olga leaves
	w.mustDo(tell(t, d))
	var left []string
	for _, p := range w.one("deals")["people"].([]any) {
		left = append(left, p.(map[string]any)["name"].(string))
	}
	require.ElementsMatch(t, []string{"Nora100 Weller", "Lender"}, left)
}

func TestFieldIsClearedOnlyByTheEventThatTookItBack(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	d.ProjectedCloseDate = consumerstest.Day(4, 10)
	w.mustDo(tell(t, d))
	id := w.one("deals")["id"].(float64)
	w.control("PUT", "deals/"+strconv.Itoa(int(id))+"?tenant=lakeshore", map[string]any{"commissionValue": 900})
	d.ProjectedCloseDate = nil
	require.True(t, w.mustDo(tell(t, d, "name")).NoOp)
	require.Equal(t, "2026-04-10", w.one("deals")["projectedCloseDate"])
	w.mustDo(tell(t, d, "projected_close_date"))
	require.Nil(t, w.one("deals")["projectedCloseDate"])
	require.InDelta(t, 900, w.one("deals")["commissionValue"], 0)
}

func TestStatusWithoutADealStageMakesNoDealAndLeavesTheStage(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := consumerstest.NewDeal(w.tenant, "100")
	d.Status = event.TransactionStatusExpired
	_, err := w.do(tell(t, d)) // and it waits for no person
	skipped(t, err, "no deal stage for EXPIRED")
	d = known(t, w)
	w.mustDo(tell(t, d))
	d.Status, d.SalePrice = event.TransactionStatusExpired, consumerstest.USD(1)
	w.mustDo(tell(t, d))
	require.Equal(t, "Offer", w.one("deals")["stageName"])
	require.InDelta(t, 1, w.one("deals")["price"], 0)
}

func TestDealThatWasDeletedInTheCRMIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	r := w.mustDo(tell(t, d))
	w.control("DELETE", "deals/"+r.Ref+"?tenant=lakeshore", nil)
	_, err := w.do(tell(t, d))
	skipped(t, err, "deleted in the CRM")
}

func TestDealsThatNeedNothingAreSkipped(t *testing.T) {
	t.Parallel()
	w := open(t, `{}`)
	_, err := w.Plan(t.Context(), w.tenant, &event.DealChanged{})
	skipped(t, err, "no deal stages configured")
	_, err = w.Plan(t.Context(), w.tenant, &event.TransactionStatusChanged{Deal: event.Deal{Status: "EXPIRED"}})
	skipped(t, err, "no stage for EXPIRED")
	_, err = w.Plan(t.Context(), w.tenant, &event.CommissionChanged{})
	skipped(t, err, "no effect here")
	w = open(t, settings)
	_, err = w.Plan(t.Context(), w.tenant, &event.DealChanged{Deal: event.Deal{Gone: true}})
	skipped(t, err, "deal gone at its source")
	_, err = w.Plan(t.Context(), w.tenant, &event.TransactionStatusChanged{Deal: event.Deal{Status: "CLOSED"}})
	skipped(t, err, "no client")
}

func TestLinksOfAnotherAccountAreNotUsed(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d, e := buyer(t, w)
	w.mustDo(e)
	w.tenant.Accounts[0].ExternalID = "60377" // the brokerage moves to another account
	_, err := w.Plan(t.Context(), w.tenant, tell(t, d))
	require.Equal(t, verdict.Hold, verdict.Of(err).Kind)
}

func TestPlanOfALife(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	type line struct{ Event, Verb, Target, Facet, Line, Verdict string }
	var lines []line
	for _, e := range consumerstest.Life(w.tenant, 1) {
		effects, err := w.Plan(t.Context(), w.tenant, e)
		if err != nil {
			lines = append(lines, line{Event: string(e.Type()), Verdict: err.Error()})
		}
		for _, f := range effects {
			lines = append(lines, line{string(e.Type()), f.Verb, f.Target, f.Facet.Name, f.Line, string(f.Class)})
			_, err := w.Apply(t.Context(), w.tenant, e, f)
			require.NoError(t, err)
		}
	}
	consumerstest.Golden(t, "testdata/plan.golden.json", lines)
}

func TestUnknownVerbAndUnreadableSettingsWait(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	_, err := w.Apply(t.Context(), w.tenant, nil, ledger.Effect{Verb: "person.dance"})
	require.Equal(t, verdict.Park, verdict.Of(err).Kind)
	a := w.tenant.Adapters[followupboss.Name]
	a.Settings = []byte(`{"stages": 7}`)
	w.tenant.Adapters[followupboss.Name] = a
	_, err = w.Plan(t.Context(), w.tenant, &event.DealChanged{})
	require.Equal(t, verdict.Hold, verdict.Of(err).Kind)
	require.Equal(t, verdict.TenantScope("lakeshore"), verdict.Of(err).Scope)
}

func TestDealThatWasMadeTwiceIsFlagged(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	e := tell(t, d)
	w.mustDo(e)
	twin := w.one("deals")
	delete(twin, "id")
	w.control("PUT", "deals/9001?tenant=lakeshore", twin)
	require.Equal(t, ledger.Doubled, w.outcome(e))
}
