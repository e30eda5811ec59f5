package producers

import (
	"slices"
	"strings"

	"conveyance/avro/event"
)

// AddParticipant adds one to a deal's participants. One of whom nothing is known is left out; one who
// stands there already, in the same place, is merged into the first entry.
func AddParticipant(list []event.Participant, one event.Participant) []event.Participant {
	c := one.Contact
	if c.FullName == "" && c.Company == "" && len(c.Emails) == 0 && len(c.Phones) == 0 {
		return list
	}
	for i := range list {
		if isSame(list[i], one) {
			merge(&list[i].Contact, c)
			return list
		}
	}
	return append(list, one)
}

// isSame says whether two entries of one role are one contact: by the vendor's id, by what their
// contact key is made of, or by a shared e-mail, phone or name where nothing speaks against it.
func isSame(a, b event.Participant) bool {
	if a.Role != b.Role || a.VendorRole != b.VendorRole {
		return false
	}
	x, y := a.Contact, b.Contact
	shared := meet(x.Emails, y.Emails) || meet(x.Phones, y.Phones)
	apart := !shared && (len(x.Emails) > 0 && len(y.Emails) > 0 || len(x.Phones) > 0 && len(y.Phones) > 0)
	sameName := strings.EqualFold(x.FullName, y.FullName) && (x.FullName != "" || strings.EqualFold(x.Company, y.Company))
	switch {
	case x.SourceKey != "" && x.SourceKey == y.SourceKey:
		return true
	case len(x.Emails) > 0 && len(y.Emails) > 0:
		return x.Emails[0] == y.Emails[0] || (shared && sameName)
	case len(x.Emails) == 0 && len(y.Emails) == 0 && len(x.Phones) > 0 && len(y.Phones) > 0:
		return x.Phones[0] == y.Phones[0] || (shared && sameName)
	}
	return (sameName && !apart) || (shared && (x.FullName == "" || y.FullName == ""))
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// merge adds to a contact what another entry knows of it. Two people who share an e-mail are one
// contact, with both names.
func merge(c *event.Contact, more event.Contact) {
	if c.FullName != "" && !strings.Contains(strings.ToLower(c.FullName), strings.ToLower(more.FullName)) {
		c.FullName += " & " + more.FullName
	}
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&c.SourceKey, more.SourceKey},
		{&c.FirstName, more.FirstName},
		{&c.LastName, more.LastName},
		{&c.FullName, more.FullName},
		{&c.Company, more.Company},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	c.Emails = union(c.Emails, more.Emails)
	c.Phones = union(c.Phones, more.Phones)
	if c.Address == nil {
		c.Address = more.Address
	}
}

func union(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
