package world

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Agent works for a brokerage. An agent is a user in the transaction system and in the CRM, with
// the same e-mail.
type Agent struct {
	GUID        string
	First, Last string
	Email       string
	Phone       string
}

// Office is a brokerage's office.
type Office struct{ GUID, Name string }

// agentNames are the agents of every brokerage: enough that agents differ from deal to deal, few
// enough to tell apart on a screen.
var agentNames = [...][2]string{
	{"Ada", "Quill"}, {"Bruno", "Marsh"}, {"Celia", "Thorn"}, {"Dario", "Vance"}, {"Edda", "Lowell"}, {"Felix", "Arbor"},
}

// Agents are a tenant's agents, the same at every call.
func Agents(tenant string) []Agent {
	out := make([]Agent, len(agentNames))
	for i, n := range agentNames {
		out[i] = Agent{
			GUID: GUID("agent", tenant, n[0], n[1]), First: n[0], Last: n[1],
			Email: strings.ToLower(n[0]+"."+n[1]) + "@" + domain(tenant),
			Phone: fmt.Sprintf("(312) 555-01%02d", 90+i),
		}
	}
	return out
}

// Offices are a tenant's offices, the same at every call.
func Offices(tenant string) []Office {
	return []Office{
		{GUID: GUID("office", tenant, "1"), Name: "Downtown"},
		{GUID: GUID("office", tenant, "2"), Name: "Harbor"},
	}
}

// GUID names a thing: the same parts give the same GUID, other parts another.
func GUID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

// domain turns a tenant's id into a host below example.com.
func domain(tenant string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(tenant))
	if clean == "" {
		clean = "brokerage"
	}
	return clean + ".example.com"
}
