package docusign

import (
	"slices"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
	"conveyance/producers"
)

// partEnvelope is a snapshot's main part: the envelope as its GET answers it, or as a webhook's summary
// or a list holds it. Where a summary was completed, partDocuments stands beside it.
const partEnvelope = "envelope"

// Map implements producers.Mapper: pure, and the same for equal parts. An envelope that breaks its
// contract (schema/envelope.json) is a *producers.ContractError with the path that broke. There is one
// signature per document and person who has signed; a status that nobody knows is a drift.
func (s *Source) Map(snap event.VendorSnapshot) (producers.Facts, error) {
	if snap.Gone {
		return producers.Facts{}, nil
	}
	if snap.Cipher != nil {
		return producers.Facts{}, &producers.ContractError{Path: "/", Why: "is encrypted"}
	}
	body, _ := part(snap, partEnvelope)
	record, drift, err := s.envelope.Read(body.Body)
	if err != nil {
		return producers.Facts{}, err
	}
	defer record.Free()
	documents, err := otherDocuments(snap)
	if err != nil {
		return producers.Facts{}, err
	}
	e := readEnvelopeWith(record, documents)
	drift = append(drift, unknownWords(e)...)
	slices.SortStableFunc(drift, func(a, b producers.Drift) int { return strings.Compare(a.Path, b.Path) })
	return producers.Facts{Signatures: e.signatures(), Claims: e.claims(), Drift: slices.Compact(drift)}, nil
}

func part(snap event.VendorSnapshot, name string) (event.Part, bool) {
	for _, p := range snap.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return event.Part{}, false
}

// otherDocuments is the answer about the documents that stands beside a webhook's envelope.
func otherDocuments(snap event.VendorSnapshot) (producers.Record, error) {
	p, ok := part(snap, partDocuments)
	if !ok {
		return producers.Record{}, nil
	}
	r, err := object(p.Body)
	if err != nil {
		return r, &producers.ContractError{Path: "/" + listDocuments, Why: "stand in a part that is no JSON"}
	}
	return r, nil
}

// unknownWords are the words of closed lists that we do not know.
func unknownWords(e envelope) []producers.Drift {
	var drift []producers.Drift
	note := func(path, word string, known ...string) {
		if word != "" && !slices.Contains(known, word) {
			drift = append(drift, producers.Drift{Path: path, Kind: producers.DriftUnknownValue, What: word})
		}
	}
	note("/status", e.Status, "created", "sent", "delivered", "signed", "completed", "declined", "voided", "deleted",
		"correct", "processing", "template", "timedout", "authoritativecopy", "transfercompleted")
	for _, s := range e.Signers {
		note("/recipients/"+s.Kind+"/status", s.Status, "created", "sent", "delivered", "signed", "completed", "declined",
			"faxpending", "autoresponded")
	}
	return drift
}

// signatures are by person and document: who is asked to sign twice signs a document once, the first
// time. The last signature of a completed envelope completes it, though it be a person's second.
func (e envelope) signatures() []producers.Signature {
	var people []signer
	last := -1 // the person who signed last
	latest := int64(0)
	for _, s := range e.Signers {
		if !s.signed() {
			continue
		}
		i := slices.IndexFunc(people, s.same)
		if i < 0 {
			i, people = len(people), append(people, s)
		}
		if s.SignedAt >= latest {
			last, latest = i, s.SignedAt
		}
		if s.SignedAt < people[i].SignedAt {
			people[i] = s
		}
	}
	var out []producers.Signature
	for i, s := range people {
		for _, d := range e.Documents {
			out = append(out, producers.Signature{
				DocumentID: d.ID, DocumentName: d.Name, EnvelopeID: e.ID,
				Signer: s.contact(), SignerRole: s.role(), SignedAt: time.UnixMilli(s.SignedAt).UTC(),
				Complete: i == last && e.Status == "completed",
			})
		}
	}
	return out
}

// same says whether two signers are one person: by e-mail, as the bus knows people, and without one by
// the user that both are.
func (s signer) same(other signer) bool {
	if s.Email != "" || other.Email != "" {
		return s.Email == other.Email
	}
	return guid(s.UserID) != "" && s.UserID == other.UserID
}

func (s signer) contact() event.Contact {
	c := event.Contact{SourceKey: guid(s.UserID), FullName: s.Name}
	if s.Email != "" {
		c.Emails = []string{s.Email}
	}
	return c
}

// role is the one that the sender's template gave, else how the vendor calls whom it asks to sign.
func (s signer) role() string {
	switch {
	case s.Role != "":
		return s.Role
	case s.Kind == kindInPerson:
		return "in-person signer"
	}
	return "signer"
}

// claims are the fields that people filled in, and the addresses of those who sign.
func (e envelope) claims() []producers.Claim {
	var out []producers.Claim
	add := func(kind, value string) {
		if c := (producers.Claim{Kind: kind, Value: value}); value != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	for _, f := range e.Fields {
		add(producers.ClaimField+f.Name, f.Value)
	}
	for _, s := range e.Signers {
		add(producers.ClaimEmail, s.Email)
	}
	return out
}

// object reads an answer's body as an object.
func object(body []byte) (producers.Record, error) {
	v, err := vendorjson.Parse(body)
	if err != nil {
		return producers.Record{}, err
	}
	return producers.Record{Value: v}, nil
}
