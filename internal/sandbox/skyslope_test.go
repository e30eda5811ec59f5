package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

func TestLoginTakesOnlyTheRightSignatureAtTheRightTime(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	now := w.clock.Now()
	got := w.want(200, "POST", "/skyslope/auth/login", w.client("lakeshore"), w.signed("lakeshore", now)).object(t)
	require.Equal(t, now.Add(2*time.Hour).Format("2006-01-02T15:04:05.000Z"), got["Expiration"])

	for name, at := range map[string]time.Time{"early": now.Add(-6 * time.Minute), "late": now.Add(6 * time.Minute)} {
		a := w.call("POST", "/skyslope/auth/login", w.client("lakeshore"), w.signed("lakeshore", at))
		require.Equal(t, 401, a.status, name)
	}
	w.want(401, "POST", "/skyslope/auth/login", w.client("lakeshore"), w.signed("redrock", now))
	w.want(401, "POST", "/skyslope/auth/login", map[string]any{"ClientID": "client-lakeshore", "ClientSecret": "guess"}, w.signed("lakeshore", now))
	unsigned := w.signed("lakeshore", now)
	unsigned.Set("Authorization", "ss key-lakeshore:AAAA")
	w.want(401, "POST", "/skyslope/auth/login", w.client("lakeshore"), unsigned)
	w.want(401, "POST", "/skyslope/auth/login", w.client("lakeshore"), nil)
	w.want(400, "POST", "/skyslope/auth/login", "{", w.signed("lakeshore", now))
}

func TestSessionsEndInTheVendorsTimeAndBelongToOneAccount(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { o.TimeScale = 60 })
	w.sale("lakeshore", "g-1", map[string]any{"status": "Pending"})
	mine, other := w.login("lakeshore"), w.login("redrock")
	w.want(200, "GET", "/skyslope/api/files/sales/g-1", nil, mine)
	w.want(404, "GET", "/skyslope/api/files/sales/g-1", nil, other)
	w.want(401, "GET", "/skyslope/api/files/sales/g-1", nil, nil)
	w.want(401, "GET", "/skyslope/api/files/sales/g-1", nil, http.Header{"Session": {"AAAA"}})
	w.clock.move(2*time.Minute - time.Second)
	w.want(200, "GET", "/skyslope/api/files/sales/g-1", nil, mine)
	w.clock.move(time.Second)
	w.want(401, "GET", "/skyslope/api/files/sales/g-1", nil, mine)
}

// bulk reads the bulk list as a client must: without the byte order mark and control characters.
func (w *world) bulk(h http.Header, query string) (guids []string, summary map[string]any) {
	w.t.Helper()
	a := w.want(200, "GET", "/skyslope/api/files"+query, nil, h)
	var items []map[string]any
	require.NoError(w.t, json.Unmarshal(clean(a.body), &items))
	for _, item := range items {
		switch item["objectType"] {
		case "sale":
			guids = append(guids, item["saleGuid"].(string))
		case "summary":
			summary = item
		}
	}
	return guids, summary
}

func clean(body []byte) []byte {
	text := strings.TrimPrefix(string(body), "\ufeff")
	return []byte(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' {
			return -1
		}
		return r
	}, text))
}

func TestBulkListSelectsByTimeOfChange(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	h := w.login("lakeshore")
	w.sale("lakeshore", "a", map[string]any{"status": "Pending"})
	w.clock.move(time.Second)
	b := w.sale("lakeshore", "b", map[string]any{
		"status": "Closed", "actualClosingDate": "2026-02-01T00:00:00",
		"buyers": []any{map[string]any{"email": "Mira@Example.com"}}, "property": map[string]any{"streetAddress": "Mill Pond Road"},
	})
	w.clock.move(time.Second)
	w.sale("lakeshore", "a", map[string]any{"salePrice": 5})

	all, summary := w.bulk(h, "")
	require.Equal(t, []string{"a", "b"}, all)
	require.InDelta(t, 2, summary["numberOfSales"], 0)
	after := url.QueryEscape(b["modifiedOn"].(string))
	got, _ := w.bulk(h, "?modifiedAfter="+after)
	require.Equal(t, []string{"a"}, got, "the instant itself is not after it")
	got, _ = w.bulk(h, "?modifiedBefore="+after)
	require.Empty(t, got, "a was changed since")
	for query, want := range map[string][]string{
		"?modifiedAfter=2026-03-01":                {"a", "b"},
		"?modifiedAfter=2026-03-01T12:00:00.500Z":  {"a", "b"},
		"?createdAfter=2026-03-01T12:00:00.500":    {"b"},
		"?createdBefore=2026-03-01T12:00:00.500":   {"a"},
		"?closedAfter=2026-01-31":                  {"b"},
		"?modifiedAfter=2026-03-01&status=Pending": {"a"},
		"?email=mira@example.com":                  {"b"},
		"?propertyAddress=mill+pond":               {"b"},
		"?type=sale":                               {"a", "b"},
		"?type=listing":                            nil,
	} {
		got, _ := w.bulk(h, query)
		require.Equal(t, want, got, query)
	}
	w.want(400, "GET", "/skyslope/api/files?modifiedAfter=yesterday", nil, h)
	w.want(400, "GET", "/skyslope/api/files?type=lease", nil, h)
}

func TestBulkListShowsTheLastSevenDaysWhereNothingIsAsked(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "old", nothing())
	w.clock.move(8 * 24 * time.Hour)
	w.sale("lakeshore", "new", nothing())
	w.sale("lakeshore", "old", map[string]any{"salePrice": 1})
	h := w.login("lakeshore")
	got, _ := w.bulk(h, "")
	require.Equal(t, []string{"new"}, got)
	got, _ = w.bulk(h, "?modifiedAfter=2026-03-05")
	require.Equal(t, []string{"new", "old"}, got)
}

func nothing() map[string]any { return map[string]any{} }

func TestPagedListLeadsOnByLinks(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for i := range 120 {
		w.sale("lakeshore", fmt.Sprintf("g-%03d", i), map[string]any{"agentGuid": strconv.Itoa(i % 2)})
	}
	h, path := w.login("lakeshore"), "/api/files/sales?agentGuid=1"
	var guids []string
	for pages := 0; path != ""; pages++ {
		require.Less(t, pages, 5)
		got := w.want(200, "GET", "/skyslope"+path, nil, h)
		var page struct {
			Value struct {
				Sales []map[string]any `json:"sales"`
			} `json:"value"`
			Links []struct{ Href, Rel string } `json:"links"`
		}
		require.NoError(t, json.Unmarshal(clean(got.body), &page))
		for _, s := range page.Value.Sales {
			guids = append(guids, s["saleGuid"].(string))
		}
		path = ""
		for _, l := range page.Links {
			if l.Rel == "next" {
				path = l.Href
			}
		}
	}
	require.Len(t, guids, 60)
	w.want(400, "GET", "/skyslope/api/files/sales?pageNumber=0", nil, h)
	w.want(400, "GET", "/skyslope/api/files/sales?earliestDate=x", nil, h)
}

func TestFilesHaveTheVendorsKeysAndQuirks(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "g", map[string]any{"status": "Pre-Contract", "buyers": []any{map[string]any{"notes": "a\u0001b\u001ac\\u0001"}}})
	h := w.login("lakeshore")
	boms := 0
	for range 14 {
		a := w.want(200, "GET", "/skyslope/api/files/sales/g", nil, h)
		if strings.HasPrefix(string(a.body), "\ufeff") {
			boms++
		}
		require.Contains(t, string(a.body), "a\x01b\x1ac\\\\u0001", "raw, and only where it stood for one")
		require.Error(t, json.Unmarshal(a.body, new(any)))
		var got struct {
			Value struct {
				Sale map[string]any `json:"sale"`
			} `json:"value"`
		}
		require.NoError(t, json.Unmarshal(clean(a.body), &got))
		require.Equal(t, "0001-01-01T00:00:00", got.Value.Sale["contractAcceptanceDate"])
		require.Equal(t, "2026-03-01T12:00:00.000", got.Value.Sale["modifiedOn"])
	}
	require.Equal(t, 2, boms)
}

func TestModifiedOnRisesStrictlyThoughTheClockStands(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	first := w.sale("lakeshore", "g", nothing())
	second := w.sale("lakeshore", "g", map[string]any{"status": "Pending", "property": map[string]any{"city": "Lindenwood"}})
	third := w.sale("lakeshore", "g", map[string]any{"property": map[string]any{"zip": "00001"}, "saleGuid": "other"})
	require.Less(t, first["modifiedOn"], second["modifiedOn"])
	require.Less(t, second["modifiedOn"], third["modifiedOn"])
	require.Equal(t, map[string]any{"city": "Lindenwood", "zip": "00001"}, third["property"], "objects are merged")
	require.Equal(t, "g", third["saleGuid"])
}

func TestAgentsAndOfficesAreThere(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	h := w.login("redrock")
	var users struct {
		Value struct {
			Users   []map[string]any `json:"users"`
			Offices []map[string]any `json:"offices"`
		} `json:"value"`
	}
	require.NoError(t, json.Unmarshal(clean(w.want(200, "GET", "/skyslope/api/users", nil, h).body), &users))
	require.Len(t, users.Value.Users, 6)
	require.Equal(t, "ada.quill@redrock.example.com", users.Value.Users[indexOf(users.Value.Users, "firstName", "Ada")]["email"])
	guid := users.Value.Users[0]["userGuid"].(string)
	w.want(200, "GET", "/skyslope/api/users/"+guid, nil, h)
	w.want(404, "GET", "/skyslope/api/users/"+guid, nil, w.login("lakeshore"))
	require.NoError(t, json.Unmarshal(clean(w.want(200, "GET", "/skyslope/api/offices", nil, h).body), &users))
	require.Len(t, users.Value.Offices, 2)
	w.want(404, "GET", "/skyslope/api/nothing", nil, h)
}

func indexOf(list []map[string]any, key, value string) int {
	for i, m := range list {
		if m[key] == value {
			return i
		}
	}
	return -1
}

func TestSkySlopeCountsRequestsAndRefusesWithAWait(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	h := w.login("lakeshore")
	for i := range 600 {
		a := w.want(200, "GET", "/skyslope/api/offices", nil, h)
		require.Equal(t, strconv.Itoa(599-i), a.header.Get("X-Ratelimit-Remaining"))
	}
	w.clock.move(20 * time.Second)
	a := w.want(429, "GET", "/skyslope/api/offices", nil, h)
	require.Equal(t, "40", a.header.Get("Retry-After"))
	w.want(200, "GET", "/skyslope/api/offices", nil, w.login("redrock"))
	w.clock.move(40 * time.Second)
	w.want(200, "GET", "/skyslope/api/offices", nil, h)
}
