package truth

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
)

// sale is what a vendor's record says, in the words of the destinations.
type sale struct {
	key               string
	body              map[string]any
	status            string
	passed            []string // statuses it went through, the one now last
	archived, gone    bool
	salePrice         *int64
	listPrice         *int64
	projected         *string
	created, modified time.Time
	clients           []string // keys of the people on the represented side, once each
	agent             string   // e-mail of the primary agent
	evidence          evidence // filled where the tenant has envelopes
}

func read(rec records.Record, agents []records.Record) sale {
	b := rec.Body
	s := sale{
		body: b, gone: rec.Gone, salePrice: price(b["salePrice"]), listPrice: price(b["listingPrice"]), projected: day(b["escrowClosingDate"]),
		created: instant(text(b["createdOn"])), modified: instant(text(b["modifiedOn"])),
	}
	s.status, s.archived = canonical(text(b["status"]), day(b["actualClosingDate"]) != nil)
	for _, word := range rec.Trail {
		status, _ := canonical(word, day(b["actualClosingDate"]) != nil)
		s.passed = append(s.passed, status)
	}
	for _, side := range represented(text(b["dealType"])) {
		for _, c := range contacts(b[side]) {
			if key := personKey(c); key != "" && !slices.Contains(s.clients, key) {
				s.clients = append(s.clients, key)
			}
		}
	}
	for _, a := range agents {
		if a.ID == text(b["agentGuid"]) {
			s.agent = strings.ToLower(text(a.Body["email"]))
		}
	}
	return s
}

// canonical is our word for the vendor's status. A file that was put away keeps its outcome: closed
// if it has a closing date.
func canonical(word string, closed bool) (status string, archived bool) {
	switch strings.ToLower(word) {
	case "pre-contract", "incomplete":
		return "PRE_CONTRACT", false
	case "pending":
		return "UNDER_CONTRACT", false
	case "closed":
		return "CLOSED", false
	case "canceled/app", "canceled/pend":
		return "CANCELLED", false
	case "expired":
		return "EXPIRED", false
	case "archived":
		if closed {
			return "CLOSED", true
		}
		return "CANCELLED", true
	default:
		return "UNKNOWN", false
	}
}

// represented are the sides that are the brokerage's clients; none where the type does not say.
func represented(dealType string) []string {
	var sides []string
	add := func(side string) {
		if !slices.Contains(sides, side) {
			sides = append(sides, side)
		}
	}
	for _, word := range strings.FieldsFunc(strings.ToLower(dealType), func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch word {
		case "purchase", "buyer", "tenant":
			add("buyers")
		case "listing", "sale", "seller", "landlord":
			add("sellers")
		case "both", "dual":
			add("buyers")
			add("sellers")
		}
	}
	return sides
}

func (s sale) warehouse() Warehouse {
	w := Warehouse{
		Status: s.status, VendorStatus: text(s.body["status"]), Archived: s.archived,
		SalePriceMinor: s.salePrice, ListPriceMinor: s.listPrice, Currency: "USD",
		ContractDate: day(s.body["contractAcceptanceDate"]), ProjectedCloseDate: s.projected, CloseDate: day(s.body["actualClosingDate"]),
		MLSNumber: text(s.body["mlsNumber"]), Gone: s.gone,
	}
	if c, ok := s.body["commission"].(map[string]any); ok {
		w.GrossCommissionMinor = minor(c["officeGrossCommission"])
	}
	for _, role := range []string{"buyers", "sellers", "titleContact", "escrowContact", "lenderContact", "otherSideAgentContact"} {
		seen := map[string]bool{}
		for _, c := range contacts(s.body[role]) {
			if id := identity(c); id != "" && !seen[id] {
				seen[id] = true
				w.Participants++
			}
		}
	}
	return w
}

// contacts is one contact or a list of them as a list.
func contacts(v any) []map[string]any {
	if one, ok := v.(map[string]any); ok {
		return []map[string]any{one}
	}
	list, _ := v.([]any)
	var out []map[string]any
	for _, item := range list {
		if c, ok := item.(map[string]any); ok {
			out = append(out, c)
		}
	}
	return out
}

// personKey is the first e-mail in lower case, else the phone as +1 and ten digits; empty for neither.
func personKey(c map[string]any) string {
	for _, word := range strings.FieldsFunc(strings.ToLower(clean(c["email"])), func(r rune) bool { return strings.ContainsRune(";,<> ", r) }) {
		if strings.Contains(word, "@") {
			return word
		}
	}
	for _, field := range []string{"phoneNumber", "alternatePhone"} {
		const national = 10
		if d := digits(clean(c[field])); len(d) >= national {
			return "+1" + d[len(d)-national:]
		}
	}
	return ""
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// identity tells participants of one role apart; empty for one who says nothing.
func identity(c map[string]any) string {
	words := []string{personKey(c), clean(c["firstName"]), clean(c["lastName"]), clean(c["company"])}
	return strings.ToLower(strings.TrimSpace(strings.Join(words, " ")))
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func clean(v any) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, text(v)))
}

// day is a date as YYYY-MM-DD; nil for none, which the vendor also writes as the year 1.
func day(v any) *string {
	s, _, _ := strings.Cut(text(v), "T")
	if s == "" || s == "0001-01-01" {
		return nil
	}
	return &s
}

// price leaves a price of nothing out: it is how the vendor writes that none was entered.
func price(v any) *int64 {
	if n := minor(v); n != nil && *n != 0 {
		return n
	}
	return nil
}

// minor is an amount in cents, rounded half away from zero; nil where there is none.
func minor(v any) *int64 {
	written := text(v)
	if n, ok := v.(json.Number); ok {
		written = n.String()
	}
	written = strings.NewReplacer("$", "", ",", "", " ", "").Replace(written)
	const digitsMax = 30 // beyond, it is no price, and a large exponent would take all memory
	if written == "" || len(written) > digitsMax || strings.ContainsAny(written, "eE/") {
		return nil
	}
	amount, ok := new(big.Rat).SetString(written)
	if !ok {
		return nil
	}
	cents, ok := new(big.Int).SetString(amount.Mul(amount, big.NewRat(100, 1)).FloatString(0), 10)
	if !ok || !cents.IsInt64() {
		return nil
	}
	n := cents.Int64()
	return &n
}
