package docusign

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
	"conveyance/producers"
)

// envelope is what we rely on of one, the same whether it came with a webhook (its leaves are texts
// there), in a list or by GET. Its JSON is what the digest is made of, and Map reads nothing else: so
// equal digests are equal facts, and whatever differs between the ways does not count. A newer version
// of an envelope is kept whole even where its digest is the same.
type envelope struct {
	ID      string   `json:"id"`
	Status  string   `json:"status"`
	Signers []signer `json:"signers"`
	Fields  []field  `json:"fields"`
	// Documents count from the first signature on: a webhook does not name them.
	Documents []document `json:"documents"`

	// version is the latest time in it, in milliseconds: the envelope's own status does not change
	// with each signature, and so neither does the time of that.
	version int64
	changed time.Time // of the status: what lists go by
	partial bool      // all that we rely on is there but, maybe, the documents
	whole   bool      // nothing that we rely on was left out
	gone    bool      // deleted or purged
}

type signer struct {
	Kind     string `json:"kind"` // the vendor's list in which it stands
	ID       string `json:"id"`   // unique within the envelope
	UserID   string `json:"user_id"`
	Name     string `json:"name"`
	Email    string `json:"email"` // lower case
	Role     string `json:"role"`
	Status   string `json:"status"`
	SignedAt int64  `json:"signed_at"` // ms; 0 = not yet
}

type field struct {
	Name  string `json:"name"` // lower case
	Value string `json:"value"`
}

type document struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// The vendor's lists of those who sign.
const (
	kindSigners  = "signers"
	kindInPerson = "inPersonSigners"
)

// certificate is the type, and the id, of the page that DocuSign adds to say who signed.
const (
	typeCertificate = "summary"
	idCertificate   = "certificate"
)

// readEnvelope takes what is there; whether it is as it must be is the contract's business.
func readEnvelope(r producers.Record) envelope { return readEnvelopeWith(r, producers.Record{}) }

// readEnvelopeWith takes the documents from another answer where the envelope does not name them.
func readEnvelopeWith(r, documents producers.Record) envelope {
	e := envelope{
		ID:     strings.ToLower(r.Text("envelopeId")),
		Status: strings.ToLower(r.Text("status")),
	}
	recipients, custom := r.One("recipients"), r.One("customFields")
	for _, kind := range [...]string{kindSigners, kindInPerson} {
		for s := range recipients.Many(kind) {
			e.Signers = append(e.Signers, readSigner(kind, s))
		}
	}
	for _, kind := range [...]string{"textCustomFields", "listCustomFields"} {
		for f := range custom.Many(kind) {
			one := field{strings.ToLower(f.Text("name")), f.Text("value")}
			if one.Name != "" && one.Value != "" {
				e.Fields = append(e.Fields, one)
			}
		}
	}
	signed := slices.ContainsFunc(e.Signers, signer.signed)
	if namesDocuments(r) {
		documents = r
	}
	if signed {
		e.Documents = readDocuments(documents)
	}
	slices.SortStableFunc(e.Signers, func(a, b signer) int {
		return strings.Compare(a.Kind+"\x00"+a.ID, b.Kind+"\x00"+b.ID)
	})
	slices.SortStableFunc(e.Fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	e.version = version(r, recipients)
	if at := r.Time("statusChangedDateTime"); at != nil {
		e.changed = *at
	} else {
		e.changed = time.UnixMilli(e.version).UTC()
	}
	e.partial = e.Status != "" && recipients.Exists() && custom.Exists() && e.version > 0
	e.whole = e.partial && (!signed || namesDocuments(documents))
	e.gone = e.Status == "deleted" || strings.HasSuffix(r.Text("purgeState"), "_purged")
	return e
}

func readSigner(kind string, r producers.Record) signer {
	s := signer{
		Kind: kind, ID: r.Text("recipientId"), UserID: strings.ToLower(r.Text("userId")),
		Name: r.Text("name"), Role: r.Text("roleName"), Status: strings.ToLower(r.Text("status")),
	}
	if at := r.Time("signedDateTime"); at != nil {
		s.SignedAt = at.UnixMilli()
	}
	email := r.Text("email")
	if kind == kindInPerson { // name and e-mail beside these are the host's, who is no party
		s.Name, s.UserID = r.Text("signerName"), ""
		email = r.Text("signerEmail")
	}
	if emails, _ := producers.Emails(email); len(emails) > 0 {
		s.Email = emails[0]
	}
	return s
}

// signed says whether the recipient has signed. "signed" is the status for the moment before
// "completed".
func (s signer) signed() bool {
	return s.SignedAt > 0 && (s.Status == "completed" || s.Status == "signed")
}

// namesDocuments says whether an answer has the list of documents. Nobody signs an envelope without
// one: an empty list is how a list is written that was not asked for.
func namesDocuments(r producers.Record) bool {
	for range r.Many(listDocuments) {
		return true
	}
	return false
}

// listDocuments is where an envelope, and the answer about its documents alone, name them.
const listDocuments = "envelopeDocuments"

// readDocuments are those that people sign, in their order.
func readDocuments(r producers.Record) []document {
	var out []document
	for d := range r.Many(listDocuments) {
		one := document{d.Text("documentId"), d.Text("name"), strings.ToLower(d.Text("type"))}
		if one.ID != "" && one.ID != idCertificate && one.Type != typeCertificate {
			out = append(out, one)
		}
	}
	return out
}

// version is the latest of the times at which something happened to the envelope or to a recipient.
func version(r, recipients producers.Record) int64 {
	latest := int64(0)
	look := func(r producers.Record, keys ...string) {
		for _, key := range keys {
			if at := r.Time(key); at != nil {
				latest = max(latest, at.UnixMilli())
			}
		}
	}
	look(r, "statusChangedDateTime", "lastModifiedDateTime", "createdDateTime", "initialSentDateTime", "sentDateTime",
		"deliveredDateTime", "completedDateTime", "declinedDateTime", "voidedDateTime", "deletedDateTime")
	for _, list := range recipients.Members() {
		for _, item := range list.Members() {
			look(producers.Record{Value: item}, "sentDateTime", "deliveredDateTime", "signedDateTime", "declinedDateTime")
		}
	}
	return latest
}

// digest is the same for the same facts, whichever way the envelope came.
func (e envelope) digest() string {
	text, _ := json.Marshal(e) //nolint:errchkjson // texts and numbers alone
	return producers.Digest([]event.Part{{Name: partEnvelope, Status: 200, Body: text}})
}

// snapshot is a fact of an envelope that is whole, or a tombstone of one that is gone. Its body is the
// vendor's, with white space and repeated keys settled.
func snapshot(r event.Resource, e envelope, body vendorjson.Value, readAt, fetchedAt time.Time) event.VendorSnapshot {
	if e.gone {
		return event.VendorSnapshot{Resource: r, ReadAt: readAt, Gone: true}
	}
	parts := []event.Part{{Name: partEnvelope, Status: 200, FetchedAt: fetchedAt, Body: lean(body)}}
	return event.VendorSnapshot{Resource: r, Version: e.version, ReadAt: readAt, Digest: e.digest(), Parts: parts}
}

// bytesKey holds a document itself, in base64, in a webhook that was asked for documents.
const bytesKey = "PDFBytes"

// lean is a body without the documents themselves: the bus keeps what was signed, not the paper.
func lean(body vendorjson.Value) []byte {
	heavy := false
	for _, d := range body.Get(listDocuments).Members() {
		heavy = heavy || d.Get(bytesKey).Kind() != vendorjson.Null
	}
	if e, ok := body.Any().(map[string]any); ok && heavy {
		documents, _ := e[listDocuments].([]any)
		for _, d := range documents {
			if d, ok := d.(map[string]any); ok {
				delete(d, bytesKey)
			}
		}
		if text, err := json.Marshal(e); err == nil {
			return text
		}
	}
	return vendorjson.Canonical(nil, body)
}

// guid returns an id in the one way in which we write it, or nothing where it is none: what becomes
// part of a path and a key is never a text of the sender's choice.
func guid(text string) string {
	text = strings.ToLower(text)
	if len(text) != len("732f99f9-4a0a-4d59-9643-b5faed2026b8") {
		return ""
	}
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return text
}
