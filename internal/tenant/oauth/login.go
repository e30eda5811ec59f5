package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// accountsMax of one login that are looked at.
const accountsMax = 10_000

// leadsTo says whether a token's login has the account, by the vendor's own list.
func (s *server) leadsTo(ctx context.Context, token, externalID string) (bool, error) {
	if s.vendor.UserInfoPath == "" {
		return true, nil
	}
	target, err := url.JoinPath(s.base, s.vendor.UserInfoPath)
	if err != nil {
		return false, &answerError{text: "the path of the login's accounts is not one"}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return false, &answerError{text: "the path of the login's accounts is not one"}
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.client.Do(r)
	if err != nil {
		return false, &answerError{text: "the account server does not say whose login it is"}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	var info any
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &info) != nil {
		return false, &answerError{status: resp.StatusCode, text: fmt.Sprintf("the account server answered %d to whose login it is", resp.StatusCode)}
	}
	return slices.ContainsFunc(members(info, s.vendor.AccountIDs), func(id string) bool {
		return strings.EqualFold(id, externalID) // ids are GUIDs, written in either case
	}), nil
}

// members are the texts at a path of member names; lists are gone through.
func members(v any, path []string) (out []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v[:min(len(v), accountsMax)] {
			out = append(out, members(e, path)...)
		}
	case map[string]any:
		if len(path) > 0 {
			return members(v[path[0]], path[1:])
		}
	case string:
		if len(path) == 0 {
			out = []string{v}
		}
	}
	return out
}
