package docusign

import (
	"encoding/json"

	"conveyance/internal/tenant"
)

// settings are the account's, as schema/account.json describes them, but for those that others read:
// which fields hold claims, and renamed.
type settings struct {
	IncludeData  *bool  `json:"include_data"`
	OAuthBaseURL string `json:"oauth_base_url"`
	HistoryFrom  string `json:"history_from"`
}

// settingsOf an account were checked against the schema when they were applied; what does not fit is
// left out.
func settingsOf(a tenant.Account) settings {
	var s settings
	if json.Unmarshal(a.Settings, &s) != nil {
		return settings{}
	}
	return s
}

func (s settings) includeData() bool { return s.IncludeData == nil || *s.IncludeData }
