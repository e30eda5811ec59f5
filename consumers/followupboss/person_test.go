package followupboss_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers/consumerstest"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// buyer is the first event about the client of a new deal.
func buyer(t *testing.T, w *world) (*consumerstest.Deal, *event.ContactChanged) {
	d := consumerstest.NewDeal(w.tenant, "100")
	return d, first[*event.ContactChanged](t, d.Tell())
}

// entered puts a person into the CRM as somebody there would.
func (w *world) entered(id int, body map[string]any) string {
	w.t.Helper()
	w.control("PUT", "people/"+strconv.Itoa(id)+"?tenant=lakeshore", body)
	return strconv.Itoa(id)
}

func value(values ...string) []any {
	var out []any
	for _, v := range values {
		out = append(out, map[string]any{"value": v, "type": "work"})
	}
	return out
}

func skipped(t *testing.T, err error, cause string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, verdict.Skip, verdict.Of(err).Kind, "%v", err)
	require.Equal(t, cause, verdict.Of(err).Cause)
}

func TestPersonIsMadeOnceWithItsAgentAndWakesWhoWaits(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	_, e := buyer(t, w)
	require.Equal(t, ledger.NotInPlace, w.outcome(e))
	r := w.mustDo(e)
	require.Equal(t, verdict.PersonScope("lakeshore", e.Contact.ContactKey), r.Wake)
	require.False(t, r.NoOp)
	p := w.one("people")
	require.Equal(t, "Nora100", p["firstName"])
	require.Equal(t, "nora100@example.com", values(p["emails"]))
	require.Equal(t, "+13125550101", values(p["phones"]))
	require.Equal(t, "Ada Quill", p["assignedTo"])
	require.Equal(t, "Conveyance", p["source"])
	require.Equal(t, []string{"POST /v1/people"}, w.requests("POST", "PUT"))
	asked := w.control("GET", "requests", nil).([]any)
	require.Equal(t, "deduplicate=true", asked[len(asked)-1].(map[string]any)["query"])
}

func TestPersonIsFoundByEmailThenPhone(t *testing.T) {
	t.Parallel()
	for name, entered := range map[string]map[string]any{
		"e-mail in capitals": {"emails": value("NORA100@example.com")},
		"second e-mail":      {"emails": value("other@example.com", "nora100@example.com")},
		"phone":              {"phones": value("(312) 555-0101")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, settings)
			id := w.entered(9001, entered)
			w.entered(9002, entered) // of two, the oldest
			_, e := buyer(t, w)
			r := w.mustDo(e)
			require.Equal(t, id, r.Ref)
			require.Len(t, w.records("people"), 2)
			require.Equal(t, []string{"PUT /v1/people/9001"}, w.requests("POST", "PUT"))
		})
	}
}

func TestPersonIsFoundByLinkWhenBothEmailAndPhoneChangedThere(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	_, e := buyer(t, w)
	r := w.mustDo(e)
	id, err := strconv.Atoi(r.Ref)
	require.NoError(t, err)
	w.entered(id, map[string]any{"emails": value("new@example.com"), "phones": []any{}})
	require.Equal(t, r.Ref, w.mustDo(e).Ref)
	require.Equal(t, "new@example.com nora100@example.com", values(w.one("people")["emails"]))
}

func TestWhatPeopleEnteredInTheCRMStays(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	users := w.records("users")
	w.entered(9001, map[string]any{
		"firstName": "Nonie", "lastName": "", "emails": value("nonie@home.test", "nora100@example.com"),
		"phones": value("312.555.0199"), "stage": "Nurture", "assignedUserId": users[0]["id"], "tags": []any{"Golf"},
	})
	_, e := buyer(t, w)
	w.mustDo(e)
	p := w.one("people")
	require.Equal(t, "Nonie", p["firstName"])
	require.Empty(t, p["lastName"])
	require.Equal(t, "Nurture", p["stage"])
	require.Equal(t, []any{"Golf"}, p["tags"])
	require.Equal(t, users[0]["id"], p["assignedUserId"])
	require.Equal(t, "nonie@home.test nora100@example.com", values(p["emails"]))
	require.Equal(t, "312.555.0199 +13125550101", values(p["phones"]))
	require.Equal(t, "work", p["phones"].([]any)[0].(map[string]any)["type"])
	require.True(t, w.mustDo(e).NoOp)
}

func TestContactWhoIsNoClientOrCannotBeReachedIsSkipped(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := consumerstest.NewDeal(w.tenant, "100")
	nameless := d.Person(event.ParticipantRoleBuyer, true, "Otis", "", "")
	for cause, e := range map[string]*event.ContactChanged{
		"not a client":             {Contact: d.Participants[1].Contact},
		"contact left the deal":    {Contact: d.Participants[0].Contact, Client: true, Removed: true},
		"neither e-mail nor phone": {Contact: nameless.Contact, Client: true},
	} {
		_, err := w.Plan(t.Context(), w.tenant, e)
		skipped(t, err, cause)
	}
}

func TestNobodyIsMadeWhereTheTenantDoesNotWantIt(t *testing.T) {
	t.Parallel()
	w := open(t, `{
	  "create_missing": false,
	  "stages": {"UNDER_CONTRACT": "Under Contract"}, "deal_stages": {"UNDER_CONTRACT": "Pending"}
	}`)
	d, e := buyer(t, w)
	_, err := w.do(e)
	skipped(t, err, "not in the CRM")
	d.Status, d.Participants = event.TransactionStatusUnderContract, append(d.Participants,
		d.Person(event.ParticipantRoleBuyer, true, "Known", "known@example.com", ""))
	w.entered(9001, map[string]any{"emails": value("known@example.com")})
	events := d.Tell()
	w.mustDo(first[*event.DealChanged](t, events))
	people := w.one("deals")["people"].([]any)
	require.Len(t, people, 1)
	require.InDelta(t, 9001, people[0].(map[string]any)["id"], 0)
	status := first[*event.TransactionStatusChanged](t, events)
	effects := w.plan(status)
	require.Len(t, effects, 2)
	_, err = w.Apply(t.Context(), w.tenant, status, effects[0])
	skipped(t, err, "not in the CRM")
	_, err = w.Apply(t.Context(), w.tenant, status, effects[1])
	require.NoError(t, err)
	require.Equal(t, "Under Contract", w.one("people")["stage"])
}

func TestLeadEventsAreSentOnlyWhereTheTenantSaysSo(t *testing.T) {
	t.Parallel()
	quiet, lead := open(t, `{}`), open(t, `{"lead_events": true, "source": "Referral"}`)
	for _, w := range []*world{quiet, lead} {
		_, e := buyer(t, w)
		w.mustDo(e)
		require.True(t, w.mustDo(e).NoOp)
	}
	require.Equal(t, []string{"POST /v1/people"}, quiet.requests("POST", "PUT"))
	require.Empty(t, quiet.records("events"))
	require.Equal(t, []string{"POST /v1/events"}, lead.requests("POST", "PUT"))
	require.Equal(t, "Referral", lead.one("people")["source"])
}

func TestArchivedLeadFlowIsASkip(t *testing.T) {
	t.Parallel()
	w := open(t, `{"lead_events": true}`)
	w.fault("POST /v1/events", "status:204", 1)
	_, e := buyer(t, w)
	_, err := w.do(e)
	skipped(t, err, "lead flow archived")
}

func TestPersonInTheTrashIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d, e := buyer(t, w)
	r := w.mustDo(e)
	id, err := strconv.Atoi(r.Ref)
	require.NoError(t, err)
	w.entered(id, map[string]any{"stage": "Trash"})
	_, err = w.do(e)
	skipped(t, err, "in the CRM's trash")
	d.Status = event.TransactionStatusUnderContract
	_, err = w.do(first[*event.TransactionStatusChanged](t, d.Tell()))
	skipped(t, err, "in the CRM's trash")
	require.Equal(t, "Trash", w.one("people")["stage"])
}

func TestPersonWhoseAnswerWasLostReadsBackAndIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	_, e := buyer(t, w)
	w.fault("POST /v1/people", "reset", 1)
	_, err := w.do(e)
	require.Equal(t, verdict.Doubt, verdict.Of(err).Kind, "%v", err)
	require.Equal(t, ledger.InPlace, w.outcome(e))
	require.True(t, w.mustDo(e).NoOp)
	require.Len(t, w.records("people"), 1)
}

func TestAnswerThatIsNoAnswerIsARetryForReadsAndADoubtForWrites(t *testing.T) {
	t.Parallel()
	for match, want := range map[string]verdict.Kind{
		"GET /v1/people": verdict.Retry, "GET /v1/users": verdict.Retry, "POST /v1/people": verdict.Doubt,
	} {
		w := open(t, settings)
		_, e := buyer(t, w)
		w.fault(match, "html", 1)
		_, err := w.do(e)
		require.Equal(t, want, verdict.Of(err).Kind, "%s: %v", match, err)
		w.mustDo(e)
		require.Len(t, w.records("people"), 1)
	}
}

func TestErrorsHoldNeitherKeysNorPersonalData(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"status:400", "status:401", "status:422", "status:500", "reset", "html"} {
		w := open(t, settings)
		_, e := buyer(t, w)
		w.fault("POST /v1/people*", fault, 1)
		_, err := w.do(e)
		require.Error(t, err, fault)
		for _, secret := range []string{"fka_", "key-of", "nora", "Nora", "555", "ada.quill"} {
			require.NotContains(t, err.Error(), secret, fault)
		}
	}
}

func TestPersonWhomWeMadeTwiceIsFlagged(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	_, e := buyer(t, w)
	w.mustDo(e)
	entered := map[string]any{"emails": value("nora100@example.com")}
	w.entered(9001, entered)
	require.Equal(t, ledger.InPlace, w.outcome(e), "somebody entered the other one")
	entered["source"] = "Conveyance"
	w.entered(9002, entered)
	require.Equal(t, ledger.Doubled, w.outcome(e))
}
