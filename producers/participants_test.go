package producers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

func person(name, email, phone string) event.Participant {
	p := event.Participant{Role: event.ParticipantRoleBuyer, Contact: event.Contact{FullName: name}}
	if email != "" {
		p.Contact.Emails = []string{email}
	}
	if phone != "" {
		p.Contact.Phones = []string{phone}
	}
	return p
}

func TestOnePersonStandsOncePerRole(t *testing.T) {
	t.Parallel()
	mira := person("Mira Holt", "mira@example.com", "")
	company := event.Participant{Role: event.ParticipantRoleBuyer, Contact: event.Contact{Company: "Cedar LLC"}}
	byID := person("Mira H.", "other@example.com", "")
	byID.Contact.SourceKey = "c-1"
	byIDAgain := person("Mira Holt", "mira@example.com", "")
	byIDAgain.Contact.SourceKey = "c-1"
	seller := mira
	seller.Role = event.ParticipantRoleSeller
	for name, tt := range map[string]struct {
		a, b event.Participant
		want int
	}{
		"nobody":                         {person("", "", ""), person("", "", ""), 0},
		"the same":                       {mira, mira, 1},
		"another case of the name":       {mira, person("MIRA HOLT", "mira@example.com", ""), 1},
		"name and phone later":           {person("", "mira@example.com", ""), person("Mira Holt", "mira@example.com", "+13125550190"), 1},
		"the same name, e-mail unknown":  {mira, person("Mira Holt", "", "+13125550190"), 1},
		"a couple with one e-mail":       {mira, person("Silas Holt", "mira@example.com", ""), 1},
		"father and son":                 {mira, person("Mira Holt", "young.mira@example.com", ""), 2},
		"a couple with one phone":        {person("A", "a@example.com", "+13125550190"), person("B", "b@example.com", "+13125550190"), 2},
		"one phone and nothing else":     {person("A", "", "+13125550190"), person("B", "", "+13125550190"), 1},
		"two roles":                      {mira, seller, 2},
		"one company":                    {company, company, 1},
		"the vendor's id, whatever else": {byID, byIDAgain, 1},
		"strangers":                      {mira, person("Noor Abel", "", ""), 2},
	} {
		require.Len(t, producers.AddParticipant(producers.AddParticipant(nil, tt.a), tt.b), tt.want, name)
	}
	merged := producers.AddParticipant(producers.AddParticipant(nil, mira), person("Silas Holt", "mira@example.com", "+13125550190"))
	require.Equal(t, "Mira Holt & Silas Holt", merged[0].Contact.FullName)
	require.Equal(t, []string{"+13125550190"}, merged[0].Contact.Phones)
}
