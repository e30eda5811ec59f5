package followupboss_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/consumers/consumerstest"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

func TestSignatureIsANoteOnTheSignersTimeline(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	e := d.Signed("env-1", "1", d.Participants[0], 1)
	f := w.plan(e)[0]
	require.Equal(t, ledger.ClassD, f.Class, "the vendor lists no notes")
	r := w.mustDo(e)
	note := w.one("notes")
	require.Equal(t, w.one("people")["id"], note["personId"])
	require.Equal(t, "Document signed", note["subject"])
	require.Equal(t, "Purchase agreement.pdf (envelope env-1, document 1) was signed on Wednesday, March 4, 2026, 9:00 AM CST."+
		" It was the last signature: everybody has signed.", note["body"])
	require.NotEmpty(t, r.Ref)
}

// The revision guard makes it once: a signature that is told again under another link has the same
// facet at the same revision.
func TestSignatureToldAgainUnderAnotherLinkHasTheSameFacet(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	first, again := d.Signed("env-1", "1", d.Participants[0], 1), d.Signed("env-1", "1", d.Participants[0], 3)
	require.NotEqual(t, first.Origin.EventID, again.Origin.EventID)
	require.Equal(t, w.plan(first)[0].Facet, w.plan(again)[0].Facet)
	other := d.Signed("env-1", "2", d.Participants[0], 1)
	require.NotEqual(t, w.plan(first)[0].Facet, w.plan(other)[0].Facet)
}

func TestNoteWaitsForItsPerson(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := consumerstest.NewDeal(w.tenant, "100")
	_, err := w.Plan(t.Context(), w.tenant, d.Signed("env-1", "1", d.Participants[0], 1))
	v := verdict.Of(err)
	require.Equal(t, verdict.Hold, v.Kind)
	require.Equal(t, verdict.PersonScope("lakeshore", d.Participants[0].Contact.ContactKey), v.Scope)
}

func TestOnlyClientsSignaturesAreNotes(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	_, err := w.Plan(t.Context(), w.tenant, d.Signed("env-1", "1", d.Participants[1], 1))
	skipped(t, err, "signer is no client")
	e := d.Signed("env-1", "1", d.Participants[0], 1)
	e.Deal = nil
	_, err = w.Plan(t.Context(), w.tenant, e)
	skipped(t, err, "signature without a deal")
}

func TestTenantThatWantsNoNotesGetsNone(t *testing.T) {
	t.Parallel()
	w := open(t, `{"notes": false}`)
	d := consumerstest.NewDeal(w.tenant, "100")
	_, err := w.Plan(t.Context(), w.tenant, d.Signed("env-1", "1", d.Participants[0], 1))
	skipped(t, err, "no notes configured")
}

func TestNoteWhoseAnswerIsLostIsInDoubtAndNeverReadBack(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	e := d.Signed("env-1", "1", d.Participants[0], 1)
	w.fault("POST /v1/notes", "reset", 1)
	_, err := w.do(e)
	require.Equal(t, verdict.Doubt, verdict.Of(err).Kind)
	require.Equal(t, ledger.CannotTell, w.outcome(e))
}

func TestNotesOfPapersOfOneNameAndMinuteAreToldApart(t *testing.T) {
	t.Parallel()
	w := open(t, settings)
	d := known(t, w)
	for _, envelope := range []string{"4d3420b8-ce24", "77e01c55-90aa"} {
		w.mustDo(d.Signed(envelope, "1", d.Participants[0], 1))
	}
	notes := w.records("notes")
	require.Len(t, notes, 2)
	require.NotEqual(t, notes[0]["body"], notes[1]["body"])
}
