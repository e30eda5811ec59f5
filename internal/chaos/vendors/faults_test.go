package vendors_test

import (
	"strings"

	"conveyance/internal/chaos/vendors"
)

// trouble is a fault of the table: how the simulated vendors are told of it, and of which requests. Faults
// of webhooks strike what plays their part where a vendor sends none.
type trouble struct {
	name  string // as in the table
	fault string // empty = nothing strikes
	hook  bool   // strikes webhooks
}

// troubles are in the order of the table; slow is longer than a call may take.
func troubles(slow string) []trouble {
	const away = "redirect:http://169.254.169.254/latest/meta-data/"
	return []trouble{
		{name: "200"},
		{"200 slow", "slow:" + slow, false},
		{"hang", "hang", false},
		{"reset mid-body", "reset", false},
		{"truncated JSON", "truncate", false},
		{"HTML as JSON", "html", false},
		{"10 GiB body", "huge", false},
		{"301 to metadata IP", away, false},
		{"400", "status:400", false},
		{"401", "unauthorized", false},
		{"403", "status:403", false},
		{"404", "status:404", false},
		{"409", "status:409", false},
		{"410", "status:410", false},
		{"422", "status:422", false},
		{"429 with Retry-After", "retry-after:2", false},
		{"429", "status:429", false},
		{"500", "status:500", false},
		{"502", "status:502", false},
		{"503", "status:503", false},
		{"504", "status:504", false},
		{"stale body", "stale", false},
		{"newer body", "newer", false},
		{"webhook ×100", "duplicate:100", true},
		{"reordered", "reorder", true},
		{"out-of-quota clock", "clock:-3600", false},
	}
}

// id of a cell's tenant.
func id(c vendors.Cell) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(c.Fault+" "+c.Vendor+" "+c.When))
	return clean
}

// match is which requests a fault strikes. Logins at DocuSign's account server are another vendor's
// business; of the writing vendor the middle of a run is a write.
func match(c vendors.Cell, hook bool) string {
	switch {
	case hook:
		return "WEBHOOK *"
	case c.Vendor == "docusign" && c.When == vendors.Forever:
		return "GET /restapi/*"
	case c.Vendor == "docusign":
		return "GET /restapi/v2.1/accounts/*/envelopes/*"
	case c.Fault == "stale body" && c.Vendor == "skyslope", c.When == vendors.Mid && c.Vendor == "skyslope":
		return "GET /api/files*"
	case c.Fault == "stale body", c.Fault == "newer body":
		return "GET *"
	case c.When == vendors.Mid && c.Vendor == "followupboss":
		return "POST /v1/people"
	}
	return ""
}
