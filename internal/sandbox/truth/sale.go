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
	body              map[string]any
	status            string
	passed            []string // statuses it went through, the one now last
	archived, gone    bool
	salePrice         *int64
	projected         *string
	created, modified time.Time
	clients           []string // keys of the people on the represented side, once each
	agent             string   // e-mail of the primary agent
}

func read(rec records.Record, agents []records.Record) sale {
	b := rec.Body
	s := sale{
		body: b, gone: rec.Gone, salePrice: minor(b["salePrice"]), projected: day(b["escrowClosingDate"]),
		created: instant(text(b["createdOn"])), modified: instant(text(b["modifiedOn"])),
	}
	s.status, s.archived = canonical(text(b["status"]), day(b["actualClosingDate"]) != nil)
	for _, word := range rec.Trail {
		status, _ := canonical(word, day(b["actualClosingDate"]) != nil)
		s.passed = append(s.passed, status)
	}
	side := b["buyers"]
	if represents(text(b["dealType"])) == "sellers" {
		side = b["sellers"]
	}
	if represents(text(b["dealType"])) != "" {
		for _, c := range contacts(side) {
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
	switch word {
	case "Pre-Contract", "Incomplete":
		return "PRE_CONTRACT", false
	case "Pending":
		return "UNDER_CONTRACT", false
	case "Closed":
		return "CLOSED", false
	case "Canceled/App", "Canceled/Pend":
		return "CANCELLED", false
	case "Expired":
		return "EXPIRED", false
	case "Archived":
		if closed {
			return "CLOSED", true
		}
		return "CANCELLED", true
	default:
		return "UNKNOWN", false
	}
}

// represents is which participants are the brokerage's clients; empty where the type does not say.
func represents(dealType string) string {
	word := strings.ToLower(strings.TrimSpace(dealType))
	switch {
	case strings.HasPrefix(word, "purchase"):
		return "buyers"
	case strings.HasPrefix(word, "listing"), strings.HasPrefix(word, "sale"):
		return "sellers"
	default:
		return ""
	}
}

func (s sale) warehouse() Warehouse {
	w := Warehouse{
		Status: s.status, VendorStatus: text(s.body["status"]), Archived: s.archived,
		SalePriceMinor: s.salePrice, ListPriceMinor: minor(s.body["listingPrice"]), Currency: "USD",
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

// personKey is the e-mail in lower case, else the phone as +1 and ten digits; empty for neither.
func personKey(c map[string]any) string {
	if mail := strings.ToLower(clean(c["email"])); mail != "" {
		return mail
	}
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, clean(c["phoneNumber"]))
	const national = 10
	if len(digits) < national {
		return ""
	}
	return "+1" + digits[len(digits)-national:]
}

// identity tells participants of one role apart; empty for one who says nothing.
func identity(c map[string]any) string {
	if key := personKey(c); key != "" {
		return key
	}
	return strings.TrimSpace(strings.Join([]string{clean(c["firstName"]), clean(c["lastName"]), clean(c["company"])}, " "))
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
