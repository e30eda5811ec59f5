package docusign

import (
	"encoding/json"
	"slices"
	"time"

	"conveyance/avro/event"
)

// statusCorrecting is an envelope's while its sender changes it.
const statusCorrecting = "correct"

// keepsDocuments says whether a delivery's event tells what people did to an envelope that stays as it
// was sent. Of any other, the one of a correction above all, its documents may be others than before.
func keepsDocuments(name string) bool {
	return slices.Contains([]string{
		"recipient-delivered", "recipient-completed", "recipient-declined",
		"envelope-delivered", "envelope-completed", "envelope-declined", "envelope-voided",
	}, name)
}

// kept is what is kept of an envelope: its documents, shaped as DocuSign answers when it is asked for
// them alone.
type kept struct {
	FetchedAt time.Time       `json:"fetched_at"`
	Answer    json.RawMessage `json:"answer"`
}

type documentsAnswer struct {
	EnvelopeID string        `json:"envelopeId"`
	Documents  []documentRow `json:"envelopeDocuments"`
}

type documentRow struct {
	ID   string `json:"documentId"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// Keep implements producers.Completer: the documents' names, from the first signature on. Before it
// they are not needed, and a sender may still change them; what people have signed is not exchanged, so
// that a delivery about a correction that comes late does no harm. A signer who attaches a document
// adds it to the list unseen: it is found when the envelope is next read or listed.
func (s *Source) Keep(snap event.VendorSnapshot) []byte {
	e, readAt, ok := envelopeIn(snap)
	if !ok || len(e.Documents) == 0 {
		return nil
	}
	rows := make([]documentRow, len(e.Documents))
	for i, d := range e.Documents {
		rows[i] = documentRow(d)
	}
	answer, err := json.Marshal(documentsAnswer{e.ID, rows})
	if err != nil {
		return nil
	}
	text, err := json.Marshal(kept{readAt, answer})
	if err != nil {
		return nil
	}
	return text
}

// envelopeIn reads the envelope that a snapshot holds, and says when its documents were read.
func envelopeIn(snap event.VendorSnapshot) (e envelope, readAt time.Time, ok bool) {
	body, ok := part(snap, partEnvelope)
	if !ok || snap.Gone || snap.Cipher != nil {
		return e, readAt, false
	}
	record, err := object(body.Body)
	if err != nil {
		return e, readAt, false
	}
	defer record.Free()
	documents, err := otherDocuments(snap)
	if err != nil {
		return e, readAt, false
	}
	readAt = body.FetchedAt
	if other, ok := part(snap, partDocuments); ok && !namesDocuments(record) {
		readAt = other.FetchedAt
	}
	return readEnvelopeWith(record, documents), readAt, true
}

// Complete implements producers.Completer: the documents become a part of their own.
func (s *Source) Complete(partial event.VendorSnapshot, what []byte) (event.VendorSnapshot, bool) {
	var k kept
	if json.Unmarshal(what, &k) != nil {
		return event.VendorSnapshot{}, false
	}
	var answer documentsAnswer
	if json.Unmarshal(k.Answer, &answer) != nil || answer.EnvelopeID != partial.Resource.ID {
		return event.VendorSnapshot{}, false
	}
	whole := partial
	whole.Parts = append(slices.Clip(partial.Parts),
		event.Part{Name: partDocuments, Status: 200, FetchedAt: k.FetchedAt, Body: k.Answer})
	e, _, ok := envelopeIn(whole)
	if !ok || !e.whole || e.gone || e.ID != partial.Resource.ID {
		return event.VendorSnapshot{}, false
	}
	whole.Digest = e.digest()
	return whole, true
}
