package truth

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

// Envelope is one envelope's part.
type Envelope struct {
	// Deal is the key of the deal to which the envelope belongs; null where its evidence names none, or
	// more than one.
	Deal *string `json:"deal"`
	// Signatures are the signers who have signed, times the documents that people wrote.
	Signatures int `json:"signatures"`
	// Kind is the evidence that decides: field (the deal's id), number (MLS or escrow), emails (two or
	// more), address (with one e-mail), none.
	Kind string `json:"kind"`
}

// evidence is what an envelope says of its deal, and a sale of itself, in plain words.
type evidence struct {
	deal, mls, escrow string
	addresses         []string
	emails            []string
}

func (j *judge) envelopes(a world.Account, envelopes []records.Record, sales []sale) {
	index := map[string][]*sale{}
	for i := range sales {
		sales[i].evidence = ofSale(sales[i])
		for _, claim := range sales[i].evidence.claims() {
			index[claim] = append(index[claim], &sales[i])
		}
	}
	for _, rec := range envelopes {
		if !rec.Exists() {
			continue
		}
		if j.out.Envelopes == nil {
			j.out.Envelopes = map[string]Envelope{}
		}
		signers := signers(rec.Body)
		e := Envelope{Signatures: len(signers) * documents(rec.Body)}
		var found *sale
		found, e.Kind = decide(ofEnvelope(a, rec.Body), index)
		if found != nil {
			e.Deal = &found.key
			j.notes(*found, signers, documents(rec.Body))
		}
		j.out.Envelopes[resourceKey(a, "envelope", rec.ID)] = e
	}
}

// claims are all that evidence says, each with what it is about in front.
func (e evidence) claims() []string {
	var out []string
	for about, values := range map[string][]string{
		"deal ": {e.deal}, "mls ": {e.mls}, "escrow ": {e.escrow}, "address ": e.addresses, "email ": e.emails,
	} {
		for _, v := range values {
			if v != "" {
				out = append(out, about+v)
			}
		}
	}
	return out
}

// decide climbs the ladder: the first kind of evidence that gives exactly one deal wins; one that is
// there and gives none ends it, one that gives several leaves them to the next.
func decide(e evidence, index map[string][]*sale) (found *sale, kind string) {
	var candidates []*sale
	for _, claim := range e.claims() {
		for _, s := range index[claim] {
			if !slices.Contains(candidates, s) && !e.contradicts(s.evidence) {
				candidates = append(candidates, s)
			}
		}
	}
	kind = "none"
	for _, rung := range []struct {
		kind    string
		claimed bool // what is there must fit
		fits    func(s evidence) bool
	}{
		{"field", e.deal != "", func(s evidence) bool { return s.deal == e.deal }},
		{"number", e.mls != "" || e.escrow != "", func(s evidence) bool {
			return (e.mls != "" && s.mls == e.mls) || (e.escrow != "" && s.escrow == e.escrow)
		}},
		{"emails", false, func(s evidence) bool { return common(e.emails, s.emails) >= 2 }},
		{"address", false, func(s evidence) bool { return common(e.emails, s.emails) >= 1 && common(e.addresses, s.addresses) >= 1 }},
	} {
		var fit []*sale
		for _, s := range candidates {
			if rung.fits(s.evidence) {
				fit = append(fit, s)
			}
		}
		switch {
		case len(fit) == 1:
			return fit[0], rung.kind
		case len(fit) > 1:
			candidates, kind = fit, rung.kind
		case rung.claimed:
			return nil, rung.kind
		}
	}
	return nil, kind
}

// contradicts says whether both say something of one thing, and not the same.
func (e evidence) contradicts(s evidence) bool {
	other := func(a, b string) bool { return a != "" && b != "" && a != b }
	return other(e.mls, s.mls) || other(e.escrow, s.escrow) ||
		(len(e.addresses) > 0 && len(s.addresses) > 0 && common(e.addresses, s.addresses) == 0)
}

func common(a, b []string) int {
	n := 0
	for _, x := range a {
		if slices.Contains(b, x) {
			n++
		}
	}
	return n
}

func ofSale(s sale) evidence {
	e := evidence{deal: strings.ToLower(text(s.body["saleGuid"])), mls: plain(text(s.body["mlsNumber"])), escrow: plain(text(s.body["escrowNumber"]))}
	for _, side := range []string{"buyers", "sellers"} {
		for _, c := range contacts(s.body[side]) {
			if key := personKey(map[string]any{"email": c["email"]}); key != "" && !slices.Contains(e.emails, key) {
				e.emails = append(e.emails, key)
			}
		}
	}
	if p, ok := s.body["property"].(map[string]any); ok && text(p["streetAddress"]) != "" {
		street := []string{text(p["streetNumber"]), text(p["streetAddress"]), text(p["unit"])}
		e.addresses = []string{
			address(append(slices.Clone(street), text(p["zip"]))...),
			address(append(slices.Clone(street), text(p["city"]), text(p["state"]), text(p["zip"]))...),
		}
	}
	return e
}

func ofEnvelope(a world.Account, body map[string]any) evidence {
	var e evidence
	fields, _ := body["customFields"].(map[string]any)
	for _, f := range contacts(fields["textCustomFields"]) {
		value := strings.TrimSpace(text(f["value"]))
		for setting, take := range map[string]struct {
			name string
			set  func()
		}{
			"deal_field":    {"deal id", func() { e.deal = strings.ToLower(value) }},
			"mls_field":     {"mls number", func() { e.mls = plain(value) }},
			"escrow_field":  {"escrow number", func() { e.escrow = plain(value) }},
			"address_field": {"property address", func() { e.addresses = append(e.addresses, address(value)) }},
		} {
			name := strings.ToLower(strings.TrimSpace(a.Setting(setting, take.name)))
			if strings.ToLower(strings.TrimSpace(text(f["name"]))) == name && value != "" {
				take.set()
			}
		}
	}
	for _, s := range signerRecipients(body) {
		if m := strings.ToLower(strings.TrimSpace(text(s["email"]))); m != "" && !slices.Contains(e.emails, m) {
			e.emails = append(e.emails, m)
		}
	}
	return e
}

func signerRecipients(envelope map[string]any) []map[string]any {
	all, _ := envelope["recipients"].(map[string]any)
	return append(contacts(all["signers"]), contacts(all["inPersonSigners"])...)
}

// signers are those who have signed.
func signers(envelope map[string]any) []map[string]any {
	return slices.DeleteFunc(signerRecipients(envelope), func(s map[string]any) bool {
		return (s["status"] != "completed" && s["status"] != "signed") || text(s["signedDateTime"]) == ""
	})
}

// documents is how many documents people wrote; the vendor's certificate is none.
func documents(envelope map[string]any) int {
	n := 0
	for _, d := range contacts(envelope["envelopeDocuments"]) {
		if t := text(d["type"]); t == "" || t == "content" {
			n++
		}
	}
	return n
}

// notes counts a deal's signatures on the timelines of those of its clients who signed.
func (j *judge) notes(s sale, signers []map[string]any, documents int) {
	if has, _ := j.effect(s); !has {
		return
	}
	for _, r := range signers {
		key := strings.ToLower(strings.TrimSpace(text(r["email"])))
		p, known := j.out.People[key]
		at, err := time.Parse(time.RFC3339Nano, text(r["signedDateTime"]))
		if known && p.Notes != nil && p.Count > 0 && slices.Contains(s.clients, key) && (err != nil || !at.Before(j.cfg.EffectsFrom)) {
			*p.Notes += documents
		}
	}
}

// plain keeps letters and digits, in lower case.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// shortened are the words that the postal service shortens.
var shortened = strings.NewReplacer(
	" street ", " st ", " avenue ", " ave ", " boulevard ", " blvd ", " drive ", " dr ", " court ", " ct ", " lane ", " ln ",
	" road ", " rd ", " place ", " pl ", " terrace ", " ter ", " circle ", " cir ", " north ", " n ", " south ", " s ",
	" east ", " e ", " west ", " w ", " unit ", " apt ", " apartment ", " apt ", " suite ", " ste ",
)

// address is an address's parts as one word, whether or not people shorten its words.
func address(parts ...string) string {
	words := strings.FieldsFunc(strings.ToLower(strings.Join(parts, " ")), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return plain(shortened.Replace(" " + strings.Join(words, "  ") + " "))
}
