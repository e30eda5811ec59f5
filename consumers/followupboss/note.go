package followupboss

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// noteSubject is the heading of a signature's note.
const noteSubject = "Document signed"

type noteBody struct {
	client client
	text   string
}

// planSigned plans a note on the timeline of a client who signed. The vendor lists no notes, so that
// one whose answer was lost cannot be read back: class D. The facet makes it once per document and
// signer, also where the envelope is linked anew and its signatures are told again.
func (a *Adapter) planSigned(ctx context.Context, t tenant.Tenant, e *event.DocumentSigned) ([]ledger.Effect, error) {
	s, err := settingsOf(t)
	switch {
	case err != nil:
		return nil, err
	case !s.Notes:
		return nil, verdict.Skipped("no notes configured")
	case e.Deal == nil:
		return nil, verdict.Skipped("signature without a deal")
	}
	others := func(c event.Contact) bool { return c.ContactKey != e.Signer.ContactKey }
	clients, err := a.clients(ctx, t, e.Deal, slices.DeleteFunc(consumers.Clients(e.Deal), others), s.CreateMissing)
	if err != nil {
		return nil, err
	}
	if len(clients) == 0 {
		return nil, verdict.Skipped("signer is no client")
	}
	target := e.DocumentID + "/" + e.Signer.ContactKey
	return []ledger.Effect{{
		Verb: verbNote, Target: e.EnvelopeID + "/" + target, Class: ledger.ClassD,
		Facet: ledger.Facet{Resource: e.Origin.Resource.Key(), Name: "note/" + target, Revision: 1},
		Line:  fmt.Sprintf("note: contact %.8s signed document %s of envelope %s", e.Signer.ContactKey, e.DocumentID, e.EnvelopeID),
		Body:  noteBody{clients[0], noteText(t, e)},
	}}, nil
}

// noteText names the envelope and the document: a person may sign two papers of one name in one
// minute, and who settles an unknown outcome has to tell their notes apart.
func noteText(t tenant.Tenant, e *event.DocumentSigned) string {
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	text := fmt.Sprintf("%s (envelope %.8s, document %s) was signed on %s.", e.DocumentName, e.EnvelopeID, e.DocumentID,
		e.SignedAt.In(zone).Format("Monday, January 2, 2006, 3:04 PM MST"))
	if e.EnvelopeComplete {
		text += " It was the last signature: everybody has signed."
	}
	return text
}

func (a *Adapter) applyNote(ctx context.Context, c call) (ledger.Receipt, error) {
	b := c.effect.Body.(noteBody)
	p, err := a.holder(ctx, c, b.client)
	if err != nil {
		return ledger.Receipt{}, err
	}
	id, err := a.crm.write(ctx, c.account, http.MethodPost, pathNotes, nil, map[string]any{
		"personId": p.ID, "subject": noteSubject, "body": b.text, "isHtml": false,
	})
	return ledger.Receipt{Ref: strconv.FormatInt(id, 10)}, err
}

// confirmNote is never asked: a note cannot be found without its id.
func (a *Adapter) confirmNote(context.Context, call) (ledger.Outcome, error) {
	return ledger.CannotTell, nil
}
