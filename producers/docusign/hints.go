package docusign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
	"conveyance/producers"
)

// Hints implements producers.Webhook. The envelope is named by its id alone: the address in the body
// is never used. It is the fact itself where the body holds a summary of that envelope with all that
// we rely on, and the fact but for the documents where that is all it lacks and the event is none that
// changes them; a deletion is believed only when it is read. A delivery about anything else than an
// envelope (a template) names no record.
func (s *Source) Hints(body []byte) (producers.Delivery, error) {
	top, err := vendorjson.Parse(body)
	if err != nil {
		return producers.Delivery{}, &producers.ContractError{Path: "/", Why: "is no JSON: " + err.Error()}
	}
	defer top.Free()
	r := producers.Record{Value: top}
	data := r.One("data")
	d := producers.Delivery{}
	if d.ID, d.Account, err = whose(body, r, data); err != nil {
		return producers.Delivery{}, err
	}
	if strings.HasPrefix(r.Text("event"), "template-") {
		return d, nil
	}
	id := guid(data.Text("envelopeId"))
	if id == "" {
		return producers.Delivery{}, &producers.ContractError{Path: "/data/envelopeId", Why: "is no id"}
	}
	record := event.Resource{Vendor: Name, Kind: KindEnvelope, ID: id}
	d.Resources = []event.Resource{record}
	d.Fact, d.Partial = told(record, r, data.One("envelopeSummary"))
	return d, nil
}

// Whose implements producers.Webhook.
func (s *Source) Whose(body []byte) (id, account string, err error) {
	top, err := vendorjson.Parse(body)
	if err != nil {
		return "", "", &producers.ContractError{Path: "/", Why: "is no JSON: " + err.Error()}
	}
	defer top.Free()
	r := producers.Record{Value: top}
	return whose(body, r, r.One("data"))
}

func whose(body []byte, r, data producers.Record) (id, account string, err error) {
	if account = guid(data.Text("accountId")); account == "" {
		return "", "", &producers.ContractError{Path: "/data/accountId", Why: "is no id"}
	}
	return deliveryID(body, r, data), account, nil
}

// told is what a summary says: both nil where it must be read instead.
func told(record event.Resource, r, summary producers.Record) (fact, partial *event.VendorSnapshot) {
	e := readEnvelope(summary)
	made := r.Time("generatedDateTime")
	if !e.partial || e.gone || e.ID != record.ID || made == nil {
		return nil, nil
	}
	snap := snapshot(record, e, summary.Value, time.Time{}, *made)
	switch {
	case e.whole:
		return &snap, nil
	case keepsDocuments(r.Text("event")) && e.Status != statusCorrecting:
		snap.Digest = ""
		return nil, &snap
	}
	return nil, nil
}

// deliveryID is a digest of what should not change between attempts, since DocuSign sends no id: when
// it was made, for which configuration, event, envelope and recipient. A body without the time it was
// made at is told apart as a whole.
func deliveryID(body []byte, r, data producers.Record) string {
	said := make([]byte, 0, 256) // mostly enough
	made := r.Text("generatedDateTime")
	if made == "" {
		said = append(said, body...)
	}
	for _, text := range [...]string{
		r.Text("configurationId"), strings.ToLower(data.Text("envelopeId")), data.Text("recipientId"),
		r.Text("event"), made,
	} {
		said = binary.BigEndian.AppendUint64(said, uint64(len(text))) // lengths keep the pieces apart
		said = append(said, text...)
	}
	sum := sha256.Sum256(said)
	return hex.EncodeToString(sum[:])
}
