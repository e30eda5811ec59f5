package followupboss_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers/consumerstest"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// status is the deal's next event about its status.
func status(t *testing.T, d *consumerstest.Deal, s event.TransactionStatus) *event.TransactionStatusChanged {
	d.Status = s
	return first[*event.TransactionStatusChanged](t, d.Tell())
}

func TestEveryClientGetsTheStageOfTheDeal(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	olga := d.Person(event.ParticipantRoleBuyer, true, "Olga", "olga@example.com", "")
	d.Participants = append(d.Participants, olga, d.Participants[0])
	events := d.Tell()
	w.mustDo(first[*event.ContactChanged](t, events))
	e := status(t, d, event.TransactionStatusUnderContract)
	effects := w.plan(e)
	require.Len(t, effects, 2, "one per person")
	for i, f := range effects {
		require.Equal(t, "TransactionStatusChanged/"+d.Participants[i*2].Contact.ContactKey, f.Facet.Name)
		_, err := w.Apply(t.Context(), w.tenant, e, f)
		require.NoError(t, err)
	}
	for _, p := range w.records("people") {
		require.Equal(t, "Under Contract", p["stage"])
	}
}

func TestStageNeverGoesBackWhereTheTenantWantsItSo(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	under := status(t, d, event.TransactionStatusUnderContract)
	w.mustDo(under)
	require.Equal(t, ledger.InPlace, w.outcome(under))
	w.mustDo(status(t, d, event.TransactionStatusClosed))
	require.Equal(t, ledger.InPlace, w.outcome(under), "a later stage contains it")
	_, err := w.do(under)
	skipped(t, err, "stage would go back")
	require.Equal(t, "Closed", w.one("people")["stage"])
}

func TestStageThatIsNotConfiguredComesBeforeAll(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	id := int(w.one("people")["id"].(float64))
	w.entered(id, map[string]any{"stage": "Past Client"})
	e := status(t, d, event.TransactionStatusUnderContract)
	require.Equal(t, ledger.NotInPlace, w.outcome(e))
	w.mustDo(e)
	require.Equal(t, "Under Contract", w.one("people")["stage"])
}

func TestStageGoesBackWhereTheTenantLetsIt(t *testing.T) {
	t.Parallel()
	w := open(t, `{"stages": {"UNDER_CONTRACT": "Under Contract", "CLOSED": "Closed"}}`)
	d := known(t, w)
	w.mustDo(status(t, d, event.TransactionStatusClosed))
	w.mustDo(status(t, d, event.TransactionStatusUnderContract))
	require.Equal(t, "Under Contract", w.one("people")["stage"])
}

func TestMissingStageParksByNameAndGoesOnOnceItIsMade(t *testing.T) {
	t.Parallel()
	w := open(t, `{"stages": {"CLOSED": "Sold!"}, "deal_stages": {"CLOSED": "Done!"}}`)
	d := known(t, w)
	d.Status = event.TransactionStatusClosed
	events := d.Tell()
	for cause, e := range map[string]event.Event{
		`stage "Sold!" does not exist in Follow Up Boss`:      first[*event.TransactionStatusChanged](t, events),
		`deal stage "Done!" does not exist in Follow Up Boss`: first[*event.DealChanged](t, events),
	} {
		_, err := w.do(e)
		require.Equal(t, verdict.Park, verdict.Of(err).Kind)
		require.Equal(t, cause, verdict.Of(err).Cause)
	}
	findings, err := w.Check(t.Context(), w.tenant, w.tenant.Accounts[0])
	require.NoError(t, err)
	require.Len(t, findings, 2)
	require.Contains(t, findings[0].What, `"Sold!"`)
	require.Contains(t, findings[1].Remedy, "deal_stages.CLOSED")

	w.control("PUT", "stages/7001?tenant=lakeshore", map[string]any{"name": "Sold!"})
	require.Eventually(t, func() bool { // the absence of a name is believed for seconds
		_, err := w.do(first[*event.TransactionStatusChanged](t, events))
		return err == nil
	}, patience, look)
	require.Equal(t, "Sold!", w.one("people")["stage"])
}

func TestCheckFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	findings, err := w.Check(t.Context(), w.tenant, w.tenant.Accounts[0])
	require.NoError(t, err)
	require.Empty(t, findings)
}

func TestCheckNamesTheAccountThatTheKeyOpens(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	other := w.tenant.Accounts[0].ExternalID
	w.tenant.Accounts[0].ExternalID = "7"
	findings, err := w.Check(t.Context(), w.tenant, w.tenant.Accounts[0])
	require.NoError(t, err)
	require.Len(t, findings, 1)
	require.Equal(t, "the API key opens account "+other+", not 7", findings[0].What)
}

func TestCheckNamesARefusedKeyAndAMissingField(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	for _, f := range w.records("dealCustomFields") {
		w.control("DELETE", "dealCustomFields/"+number(f["id"])+"?tenant=lakeshore", nil)
	}
	findings, err := w.Check(t.Context(), w.tenant, w.tenant.Accounts[0])
	require.NoError(t, err)
	require.Len(t, findings, 1)
	require.Contains(t, findings[0].What, "customConveyanceKey")
	w.tenant.Accounts[0].Credential.Fields["api_key"] = "fka_wrong"
	findings, err = w.Check(t.Context(), w.tenant, w.tenant.Accounts[0])
	require.NoError(t, err)
	require.Len(t, findings, 1)
	require.Equal(t, "lakeshore/followupboss/main", findings[0].Account)
	require.NotContains(t, findings[0].What+findings[0].Remedy, "fka_")
}
