package timeline

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"conveyance/avro/event"
	"conveyance/consumers"
)

const (
	// wordBytesMax bounds a vendor's word within a line: its statuses are short.
	wordBytesMax = 40
	// fieldsMax is how many names of changed fields a line lists.
	fieldsMax = 6
	// keyBytes of a pseudonym tell a deal's people apart.
	keyBytes = 8
)

// lines are the lines of each type of event.
var lines = map[event.Type]func(event.Event) string{
	event.TypeDealChanged:              of(dealLine),
	event.TypeTransactionStatusChanged: of(statusLine),
	event.TypeCommissionChanged:        of(commissionLine),
	event.TypeContactChanged:           of(contactLine),
	event.TypeDocumentSigned:           of(signedLine),
	event.TypeResourceLinked:           of(func(e *event.ResourceLinked) string { return "linked by " + string(e.Rung) }),
	event.TypeResourceUnlinked:         of(func(*event.ResourceUnlinked) string { return "link undone" }),
}

func of[E event.Event](line func(E) string) func(event.Event) string {
	return func(e event.Event) string {
		typed, ok := e.(E)
		if !ok {
			return string(e.Type())
		}
		return line(typed)
	}
}

// line is what an event means, without personal data.
func line(e event.Event) string {
	if tell, ok := lines[e.Type()]; ok {
		return tell(e)
	}
	return string(e.Type())
}

// dealKey is the deal that an event is about; the resource's own key where it says none.
func dealKey(e event.Event) string {
	if d := consumers.DealOf(e); d != nil {
		return d.DealKey
	}
	var key *string
	switch e := e.(type) {
	case *event.ContactChanged:
		key = e.DealKey
	case *event.DocumentSigned:
		key = e.DealKey
	case *event.ResourceLinked:
		key = &e.DealKey
	case *event.ResourceUnlinked:
		key = &e.DealKey
	}
	if key != nil {
		return *key
	}
	return e.Source().Resource.Key()
}

func snapshotLine(s *event.VendorSnapshot) string {
	if s.Gone {
		return s.Resource.Vendor + " " + s.Resource.Kind + " is gone"
	}
	size := 0
	for _, p := range s.Parts {
		size += len(p.Body)
	}
	return fmt.Sprintf("%s %s read: %s, %d bytes", s.Resource.Vendor, s.Resource.Kind, count(len(s.Parts), "part"), size)
}

func dealLine(e *event.DealChanged) string {
	what := "changed"
	switch {
	case e.Deal.Gone:
		what = "deal is gone at " + e.Origin.Resource.Vendor
	case e.Origin.FirstSight:
		what = "new deal"
	case len(e.Changed) > 0:
		what = "changed " + fields(e.Changed)
	}
	price := money("sale price", e.Deal.SalePrice)
	if price == "" {
		price = money("list price", e.Deal.ListPrice)
	}
	return join(what, string(e.Deal.Status), price, date("closes", consumers.Date(e.Deal.ProjectedCloseDate)))
}

func statusLine(e *event.TransactionStatusChanged) string {
	return join(word(e.Deal.VendorStatus)+" → "+string(e.Deal.Status), money("sale price", e.Deal.SalePrice))
}

func commissionLine(e *event.CommissionChanged) string {
	final := ""
	if e.Final {
		final = "final"
	}
	return join(strings.TrimSpace("commission "+amount(e.Commission.Gross)),
		count(len(e.Commission.Split), "payee"), final)
}

func contactLine(e *event.ContactChanged) string {
	words := []string{"contact", e.Contact.ContactKey[:min(len(e.Contact.ContactKey), keyBytes)]}
	for _, r := range e.Roles {
		words = append(words, strings.ToLower(string(r)))
	}
	what := strings.Join(words, " ")
	switch {
	case e.Removed:
		return what + " left the deal"
	case e.Origin.FirstSight:
		return join("new "+what, client(e.Client))
	}
	return join(what, client(e.Client), "changed "+fields(e.Changed))
}

func signedLine(e *event.DocumentSigned) string {
	if e.EnvelopeComplete {
		return "document signed, envelope complete"
	}
	return "document signed"
}

func client(is bool) string {
	if is {
		return "client"
	}
	return ""
}

func money(name string, m *event.Money) string {
	if m == nil {
		return ""
	}
	return name + " " + amount(m)
}

func amount(m *event.Money) string {
	if m == nil {
		return ""
	}
	return consumers.Amount(*m)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func date(name, day string) string {
	if day == "" {
		return ""
	}
	return name + " " + day
}

func fields(names []string) string {
	if len(names) > fieldsMax {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:fieldsMax], ", "), len(names)-fieldsMax)
	}
	return strings.Join(names, ", ")
}

// word is a vendor's word, printable and short.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	if len(s) > wordBytesMax {
		s = strings.ToValidUTF8(s[:wordBytesMax], "") + "…"
	}
	return s
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}
