package truth_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/truth"
	"conveyance/internal/sandbox/world"
)

// life writes the states of a sale, one after the other, and returns the truth of its tenant.
type life struct {
	t      *testing.T
	store  *records.Store
	tenant world.Tenant
	now    time.Time
}

func begin(t *testing.T, cfg world.FUBConfig) *life {
	t.Helper()
	l := &life{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), tenant: world.Tenant{
		ID: "lake", FollowUpBoss: cfg,
		Accounts: []world.Account{{Vendor: "skyslope", Name: "a b"}, {Vendor: "followupboss", Name: "main"}},
	}}
	store, err := records.Open("", func() time.Time { return l.now })
	require.NoError(t, err)
	l.store = store
	return l
}

// sale merges a patch, as the vendor does.
func (l *life) sale(guid string, patch map[string]any) {
	l.t.Helper()
	_, err := l.store.Put(records.Key{Account: "lake/skyslope/a b", Kind: "sales", ID: guid}, func(old records.Record, at time.Time) (records.Change, error) {
		stamp := at.Format("2006-01-02T15:04:05.000")
		body := old.Body
		if body == nil {
			body = map[string]any{"createdOn": stamp, "dealType": "Purchase"}
		}
		body = records.Merge(body, patch)
		body["modifiedOn"] = stamp
		return records.Change{Body: body, State: body["status"].(string)}, nil
	})
	require.NoError(l.t, err)
}

func (l *life) truth() truth.Tenant {
	return truth.Of([]world.Tenant{l.tenant}, l.store.Now()).Tenants["lake"]
}

func (l *life) deal(guid string) truth.Deal {
	l.t.Helper()
	d, ok := l.truth().Deals["lake/skyslope/a%20b/sale/"+guid]
	require.True(l.t, ok)
	return d
}

func usual() world.FUBConfig {
	return world.FUBConfig{
		CreateMissing: true,
		Stages:        map[string]string{"UNDER_CONTRACT": "Under Contract", "CLOSED": "Closed"},
		DealStages:    map[string]string{"UNDER_CONTRACT": "Pending", "CLOSED": "Won", "CANCELLED": "Lost"},
	}
}

func buyers(mails ...string) []any {
	var out []any
	for _, m := range mails {
		out = append(out, map[string]any{"email": m})
	}
	return out
}

func TestStatusesHaveOneMeaning(t *testing.T) {
	t.Parallel()
	l := begin(t, usual())
	for word, want := range map[string]string{
		"Pre-Contract": "PRE_CONTRACT", "Incomplete": "PRE_CONTRACT", "Pending": "UNDER_CONTRACT", "Closed": "CLOSED",
		"Canceled/App": "CANCELLED", "Canceled/Pend": "CANCELLED", "Expired": "EXPIRED", "Attorney Review": "UNKNOWN", "": "UNKNOWN",
	} {
		l.sale("g", map[string]any{"status": word})
		w := l.deal("g").Warehouse
		require.Equal(t, want, w.Status, word)
		require.Equal(t, word, w.VendorStatus)
		require.False(t, w.Archived)
	}
	l.sale("g", map[string]any{"status": "Archived"})
	require.Equal(t, "CANCELLED", l.deal("g").Warehouse.Status)
	l.sale("g", map[string]any{"actualClosingDate": "2026-02-03T00:00:00"})
	require.Equal(t, "CLOSED", l.deal("g").Warehouse.Status)
	require.True(t, l.deal("g").Warehouse.Archived)
}

func TestWarehouseHoldsAmountsDatesAndParticipants(t *testing.T) {
	t.Parallel()
	l := begin(t, usual())
	l.sale("g", map[string]any{
		"status": "Pending", "salePrice": "$525,000.50", "listingPrice": 0, "mlsNumber": "M1",
		"contractAcceptanceDate": "0001-01-01T00:00:00", "escrowClosingDate": "2026-04-01T00:00:00",
		"commission":   map[string]any{"officeGrossCommission": json.Number("13125.255")},
		"buyers":       []any{map[string]any{"email": "A@x.test"}, map[string]any{"email": "a@x.test"}, map[string]any{"email": " "}, nil},
		"sellers":      []any{map[string]any{"email": "a@x.test"}, map[string]any{"firstName": "Otis"}},
		"titleContact": map[string]any{"company": "Quist Title"}, "lenderContact": map[string]any{"firstName": ""},
	})
	text, err := json.Marshal(l.deal("g"))
	require.NoError(t, err)
	require.JSONEq(t, `{"warehouse":{"status":"UNDER_CONTRACT","vendor_status":"Pending","archived":false,"sale_price_minor":52500050,
		"list_price_minor":null,"currency":"USD","contract_date":null,"projected_close_date":"2026-04-01","close_date":null,
		"mls_number":"M1","participants":4,"gross_commission_minor":1312526,"gone":false},
		"followupboss":{"deal":{"stage":"Pending","stages":["Pending"],"price":525000.5,"projectedCloseDate":"2026-04-01","people":1}}}`, string(text))
	_, err = l.store.Delete(records.Key{Account: "lake/skyslope/a b", Kind: "sales", ID: "g"})
	require.NoError(t, err)
	require.True(t, l.deal("g").Warehouse.Gone)
}

func TestPeopleAreThoseOnTheRepresentedSide(t *testing.T) {
	t.Parallel()
	for dealType, want := range map[string][]string{
		"Purchase": {"b@x.test"}, "Purchase / Tenant": {"b@x.test"}, "Listing": {"+13125550142"}, "Sale": {"+13125550142"},
		"Dual": {"b@x.test", "+13125550142"}, "Referral": {}, "": {},
	} {
		l := begin(t, usual())
		l.sale("g", map[string]any{
			"status": "Pending", "dealType": dealType, "buyers": buyers("B@x.test"),
			"sellers": []any{map[string]any{"phoneNumber": "(312) 555-0142"}, map[string]any{"firstName": "Nobody"}},
		})
		got := []string{}
		for key, p := range l.truth().People {
			require.Equal(t, 1, p.Count)
			got = append(got, key)
		}
		require.ElementsMatch(t, want, got, dealType)
	}
}

func TestStagesFollowTheDealsOfAPerson(t *testing.T) {
	t.Parallel()
	forward := usual()
	forward.ForwardOnly = true
	type deal []string // its statuses in order
	for name, c := range map[string]struct {
		cfg   world.FUBConfig
		deals []deal
		want  []string
	}{
		"no stage":                     {usual(), []deal{{"Pre-Contract"}}, []string{"Lead"}},
		"one stage":                    {usual(), []deal{{"Pre-Contract", "Pending"}}, []string{"Under Contract"}},
		"the last one":                 {usual(), []deal{{"Pending", "Closed"}}, []string{"Closed"}},
		"back":                         {usual(), []deal{{"Closed", "Pending"}}, []string{"Under Contract"}},
		"a passing one may stay":       {usual(), []deal{{"Pending", "Canceled/Pend"}}, []string{"Lead", "Under Contract"}},
		"two deals":                    {usual(), []deal{{"Pending"}, {"Closed"}}, []string{"Closed", "Under Contract"}},
		"two deals, one without":       {usual(), []deal{{"Pending"}, {"Expired"}}, []string{"Under Contract"}},
		"forward":                      {forward, []deal{{"Pending"}, {"Closed"}}, []string{"Closed"}},
		"forward, reopened":            {forward, []deal{{"Closed", "Pending"}}, []string{"Closed", "Under Contract"}},
		"forward, a passing one":       {forward, []deal{{"Pending", "Canceled/Pend"}}, []string{"Lead", "Under Contract"}},
		"forward, a passing one above": {forward, []deal{{"Pending"}, {"Closed", "Canceled/Pend"}}, []string{"Closed", "Under Contract"}},
	} {
		l := begin(t, c.cfg)
		for i, d := range c.deals {
			for _, status := range d {
				l.sale(string(rune('a'+i)), map[string]any{"status": status, "buyers": buyers("b@x.test")})
			}
		}
		require.Equal(t, c.want, l.truth().People["b@x.test"].Stages, name)
	}
}

func TestDealsWithoutAStageNowMayHaveAPassingOne(t *testing.T) {
	t.Parallel()
	l := begin(t, usual())
	l.sale("never", map[string]any{"status": "Pre-Contract"})
	require.Nil(t, l.deal("never").FollowUpBoss.Deal)
	for _, status := range []string{"Pending", "Closed", "Pending", "Expired"} {
		l.sale("once", map[string]any{"status": status})
	}
	got := l.deal("once").FollowUpBoss
	require.True(t, got.Optional)
	require.Equal(t, []string{"Won", "Pending"}, got.Deal.Stages)
	l.tenant.Accounts = l.tenant.Accounts[:1]
	require.Nil(t, l.deal("once").FollowUpBoss.Deal, "there is no CRM")
	require.Empty(t, l.truth().People)
}

func TestNothingBeforeGoLiveHasAnEffect(t *testing.T) {
	t.Parallel()
	cfg := usual()
	cfg.EffectsFrom = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	l := begin(t, cfg)
	l.sale("old", map[string]any{"status": "Pending", "buyers": buyers("old@x.test")})
	l.sale("both", map[string]any{"status": "Pending", "buyers": buyers("both@x.test")})
	l.now = l.now.AddDate(0, 0, 2)
	l.sale("both", map[string]any{"status": "Closed"})
	l.sale("new", map[string]any{"status": "Pending", "buyers": buyers("new@x.test")})
	require.Nil(t, l.deal("old").FollowUpBoss.Deal)
	require.Equal(t, "UNDER_CONTRACT", l.deal("old").Warehouse.Status, "the warehouse holds everything")
	require.True(t, l.deal("both").FollowUpBoss.Optional)
	require.False(t, l.deal("new").FollowUpBoss.Optional)
	people := l.truth().People
	require.NotContains(t, people, "old@x.test")
	require.True(t, people["both@x.test"].Optional)
	require.False(t, people["new@x.test"].Optional)
}

func TestNobodyIsMadeWhereTheTenantWantsNobodyMade(t *testing.T) {
	t.Parallel()
	cfg := usual()
	cfg.CreateMissing = false
	l := begin(t, cfg)
	for id, body := range map[string]map[string]any{
		"1": {"createdVia": "Manually", "emails": []any{map[string]any{"value": "There@x.test"}}},
		"2": {"createdVia": "API", "emails": []any{map[string]any{"value": "made@x.test"}}},
	} {
		_, err := l.store.Put(records.Key{Account: "lake/followupboss/main", Kind: "people", ID: id}, func(records.Record, time.Time) (records.Change, error) {
			return records.Change{Body: body}, nil
		})
		require.NoError(t, err)
	}
	l.sale("g", map[string]any{"status": "Pending", "buyers": buyers("there@x.test", "made@x.test", "new@x.test")})
	people := l.truth().People
	require.Equal(t, 1, people["there@x.test"].Count)
	require.Equal(t, 0, people["made@x.test"].Count)
	require.Equal(t, 0, people["new@x.test"].Count)
	require.Equal(t, 1, l.deal("g").FollowUpBoss.Deal.People)
}

func TestAgentsOwnPeopleWhereTheTenantWantsIt(t *testing.T) {
	t.Parallel()
	cfg := usual()
	cfg.AssignAgents = true
	l := begin(t, cfg)
	_, err := l.store.Put(records.Key{Account: "lake/skyslope/a b", Kind: "users", ID: "u"}, func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: map[string]any{"email": "Ada@x.test"}}, nil
	})
	require.NoError(t, err)
	l.sale("g", map[string]any{"status": "Pending", "agentGuid": "u", "buyers": buyers("b@x.test")})
	require.Equal(t, []string{"ada@x.test"}, l.truth().People["b@x.test"].Assigned)
}

func FuzzTruthOfAnySale(f *testing.F) {
	f.Add(`{"status":"Closed","salePrice":"1e999999999","buyers":[{"email":"a@b"}],"commission":{"officeGrossCommission":1}}`)
	f.Add(`{"status":5,"salePrice":[],"buyers":{"email":{}},"escrowClosingDate":"x","dealType":"dual"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var patch map[string]any
		if json.Unmarshal([]byte(text), &patch) != nil {
			t.Skip()
		}
		store, err := records.Open("", time.Now)
		require.NoError(t, err)
		_, err = store.Put(records.Key{Account: "t/skyslope/a", Kind: "sales", ID: "g"}, func(records.Record, time.Time) (records.Change, error) {
			return records.Change{Body: patch}, nil
		})
		require.NoError(t, err)
		got := truth.Of([]world.Tenant{{ID: "t", Accounts: []world.Account{{Vendor: "skyslope", Name: "a"}}}}, store.Now())
		_, err = json.Marshal(got)
		require.NoError(t, err)
	})
}
