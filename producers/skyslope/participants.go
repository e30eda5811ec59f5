package skyslope

import (
	"slices"

	"conveyance/avro/event"
	"conveyance/producers"
)

// place is a field of a sale that holds participants. Those whose side is not known, such as an
// attorney, are OTHER: the vendor's word stays beside it.
type place struct {
	key  string
	role event.ParticipantRole
}

// participantsUsual is room for the people of most deals.
const participantsUsual = 6

// places in the order in which participants appear in the deal.
func places() [9]place {
	return [...]place{
		{"buyers", event.ParticipantRoleBuyer},
		{"sellers", event.ParticipantRoleSeller},
		{"otherSideAgentContact", event.ParticipantRoleOtherSideAgent},
		{"escrowContact", event.ParticipantRoleEscrowOfficer},
		{"titleContact", event.ParticipantRoleTitleOfficer},
		{"lenderContact", event.ParticipantRoleLoanOfficer},
		{"attorneyContact", event.ParticipantRoleOther},
		{"homeWarrantyContact", event.ParticipantRoleOther},
		{"miscContact", event.ParticipantRoleOther},
	}
}

// participants are the people of the places, each once per place.
func (m *mapping) participants(rep event.Representation) []event.Participant {
	out := make([]event.Participant, 0, participantsUsual)
	for _, p := range places() {
		for r := range m.sale.Many(p.key) {
			c := m.contact(r, "/"+p.key)
			out = producers.AddParticipant(out, event.Participant{
				Role: p.role, VendorRole: p.key, Client: isClient(p.role, rep), Contact: c,
			})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func isClient(role event.ParticipantRole, rep event.Representation) bool {
	switch rep {
	case event.RepresentationBuyer:
		return role == event.ParticipantRoleBuyer
	case event.RepresentationSeller:
		return role == event.ParticipantRoleSeller
	case event.RepresentationBoth:
		return role == event.ParticipantRoleBuyer || role == event.ParticipantRoleSeller
	default:
		return false
	}
}

func (m *mapping) contact(r producers.Record, path string) event.Contact {
	emails, all := producers.Emails(r.Text("email"))
	if !all {
		m.drift = append(m.drift, producers.Drift{Path: path + "/email", Kind: producers.DriftUnknownValue})
	}
	c := event.Contact{
		SourceKey: r.Text("contactGuid"),
		FirstName: r.Text("firstName"),
		LastName:  r.Text("lastName"),
		FullName:  r.Text("fullName"),
		Company:   r.Text("company"),
		Emails:    emails,
		Phones:    m.phones(r, path, "phoneNumber", "alternatePhone"),
		Address:   home(r),
	}
	if split := join(c.FirstName, c.LastName); split != "" {
		c.FullName = split
	}
	return c
}

func (m *mapping) phones(r producers.Record, path string, keys ...string) []string {
	var out []string
	for _, key := range keys {
		written := r.Text(key)
		p := producers.Phone(written)
		switch {
		case p == "" && written != "":
			m.drift = append(m.drift, producers.Drift{Path: path + "/" + key, Kind: producers.DriftUnknownValue})
		case p != "" && !slices.Contains(out, p):
			out = append(out, p)
		}
	}
	return out
}

func home(r producers.Record) *event.Address {
	a := event.Address{
		Street:          join(r.Text("streetNumber"), r.Text("streetName")),
		City:            r.Text("city"),
		StateOrProvince: state(r.Text("state")),
		PostalCode:      r.Text("zip"),
	}
	if a == (event.Address{}) {
		return nil
	}
	return &a
}

// dealAgents are the brokerage's own people on the deal: the primary agent, co-agents, coordinators.
func (m *mapping) dealAgents() []event.Agent {
	var out []event.Agent
	add := func(guid string, role event.AgentRole, embedded producers.Record) {
		r := m.users[guid]
		if !r.Exists() {
			r = embedded // the sale's own copy, where the users' list lacks the agent
		}
		emails, _ := producers.Emails(r.Text("email"))
		a := event.Agent{AgentKey: guid, Role: role, Name: join(r.Text("firstName"), r.Text("lastName"))}
		if a.Name == "" {
			a.Name = r.Text("fullName")
		}
		if len(emails) > 0 {
			a.Email = emails[0]
		}
		known := slices.ContainsFunc(out, func(have event.Agent) bool { return have.AgentKey == guid && guid != "" })
		if !known && (guid != "" || a.Name != "" || a.Email != "") {
			out = append(out, a)
		}
	}
	primary := m.sale.One("agent")
	guid := m.sale.Text("agentGuid")
	if guid == "" {
		guid = primary.First("userGuid", "guid")
	}
	add(guid, event.AgentRolePrimary, primary)
	for _, guid := range m.sale.Texts("coAgentGuids") {
		add(guid, event.AgentRoleCoAgent, find(m.sale, guid))
	}
	for r := range m.sale.Many("coAgents") {
		add(r.First("userGuid", "guid"), event.AgentRoleCoAgent, r)
	}
	for r := range m.sale.Many("transactionCoordinators") {
		add(r.Text("contactGuid"), event.AgentRoleCoordinator, r)
	}
	return out
}

// find is the sale's own copy of a co-agent.
func find(sale producers.Record, guid string) producers.Record {
	for r := range sale.Many("coAgents") {
		if r.First("userGuid", "guid") == guid {
			return r
		}
	}
	return producers.Record{}
}
