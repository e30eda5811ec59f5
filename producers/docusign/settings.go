package docusign

import (
	"encoding/json"

	"conveyance/internal/tenant"
)

// settings are the account's, as schema/account.json describes them, but for those that others read:
// which fields hold claims, and renamed.
type settings struct {
	IncludeData      *bool  `json:"include_data"`
	IncludeDocuments bool   `json:"include_documents"`
	OAuthBaseURL     string `json:"oauth_base_url"`
	HistoryFrom      string `json:"history_from"`
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

// included is what DocuSign is asked to send with its webhooks.
func (s settings) included() []string {
	switch {
	case s.IncludeData != nil && !*s.IncludeData:
		return []string{}
	case s.IncludeDocuments:
		return []string{"recipients", "custom_fields", partDocuments}
	}
	return []string{"recipients", "custom_fields"}
}

// partDocuments in a webhook are the documents' names with all their bytes; in a snapshot they are the
// names alone, as an earlier read of the envelope had them.
const partDocuments = "documents"
