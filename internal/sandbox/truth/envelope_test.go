package truth_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/story"
	"conveyance/internal/sandbox/truth"
	"conveyance/internal/sandbox/world"
)

// sign gives the tenant a docusign account with one envelope, and returns the truth of it.
func (l *life) sign(fields map[string]string, emails ...string) truth.Envelope {
	l.t.Helper()
	if len(l.tenant.Accounts) == 2 {
		l.tenant.Accounts = append(l.tenant.Accounts, world.Account{Vendor: "docusign", Name: "main"})
	}
	custom, signers := []any{}, []any{}
	for name, value := range fields {
		custom = append(custom, map[string]any{"name": name, "value": value})
	}
	for _, m := range emails {
		signers = append(signers, map[string]any{"email": m, "status": "completed", "signedDateTime": "2026-03-05T00:00:00.0000000Z"})
	}
	signers = append(signers, map[string]any{"email": "unsigned@x.test", "status": "sent"})
	_, err := l.store.Put(records.Key{Account: "lake/docusign/main", Kind: "envelopes", ID: "e"}, func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: map[string]any{
			"customFields":      map[string]any{"textCustomFields": custom},
			"recipients":        map[string]any{"signers": signers},
			"envelopeDocuments": []any{map[string]any{"type": "content"}, map[string]any{}, map[string]any{"type": "summary"}},
		}}, nil
	})
	require.NoError(l.t, err)
	return l.truth().Envelopes["lake/docusign/main/envelope/e"]
}

func TestEvidenceNamesOneDealOrNone(t *testing.T) {
	t.Parallel()
	l := begin(t, usual())
	deal := func(guid, mls, escrow, street string, mails ...string) {
		l.sale(guid, map[string]any{
			"saleGuid": guid, "status": "Pending", "mlsNumber": mls, "escrowNumber": escrow, "buyers": buyers(mails...),
			"property": map[string]any{"streetNumber": "12", "streetAddress": street, "unit": "", "city": "Ashford", "state": "IL", "zip": "00012"},
		})
	}
	deal("A", "MLS-1", "", "Mill Pond Road", "a@x.test", "b@x.test")
	deal("B", "MLS-2", "ESC-2", "Orchard Lane", "a@x.test", "c@x.test")
	deal("C", "MLS-2", "ESC-3", "Cedar Bluff", "d@x.test", "e@x.test")
	type fields map[string]string
	for name, c := range map[string]struct {
		fields fields
		emails []string
		deal   string
		kind   string
	}{
		"field":                            {fields{"deal id ": " a "}, nil, "A", "field"},
		"field of nobody":                  {fields{"Deal ID": "z"}, []string{"a@x.test", "b@x.test"}, "", "field"},
		"number":                           {fields{"MLS Number": "mls 1"}, nil, "A", "number"},
		"escrow":                           {fields{"Escrow Number": "esc2"}, nil, "B", "number"},
		"number of nobody":                 {fields{"MLS Number": "9"}, []string{"a@x.test", "b@x.test"}, "", "number"},
		"number of two":                    {fields{"MLS Number": "MLS-2"}, []string{"x@x.test"}, "", "number"},
		"number of two, e-mails":           {fields{"MLS Number": "MLS-2"}, []string{"a@x.test", "c@x.test"}, "B", "emails"},
		"e-mails":                          {nil, []string{"A@x.test", "c@x.test"}, "B", "emails"},
		"one e-mail":                       {nil, []string{"b@x.test"}, "", "none"},
		"one e-mail twice":                 {nil, []string{"b@x.test", "B@x.test"}, "", "none"},
		"address":                          {fields{"Property Address": "12 Mill Pond Rd., Ashford IL 00012"}, []string{"a@x.test"}, "A", "address"},
		"address without city":             {fields{"Property Address": "12 mill pond road 00012"}, []string{"a@x.test"}, "A", "address"},
		"address alone":                    {fields{"Property Address": "12 Mill Pond Rd, Ashford IL 00012"}, []string{"x@x.test"}, "", "none"},
		"e-mails of another address":       {fields{"Property Address": "12 Mill Pond Rd, Ashford IL 00012"}, []string{"a@x.test", "c@x.test"}, "A", "address"},
		"field that another number denies": {fields{"Deal ID": "A", "MLS Number": "MLS-2"}, nil, "", "field"},
		"nothing":                          {nil, nil, "", "none"},
	} {
		got := l.sign(c.fields, c.emails...)
		require.Equal(t, c.kind, got.Kind, name)
		if c.deal == "" {
			require.Nil(t, got.Deal, name)
		} else {
			require.NotNil(t, got.Deal, name)
			require.Equal(t, "lake/skyslope/a%20b/sale/"+c.deal, *got.Deal, name)
		}
		require.Equal(t, 2*len(c.emails), got.Signatures, name)
	}
	l.tenant.Accounts[2].Settings = map[string]string{"deal_field": "File No"}
	require.NotNil(t, l.sign(map[string]string{"file no": "a"}).Deal)
	require.Nil(t, l.sign(map[string]string{"deal id": "a"}).Deal)
}

func TestClientsHaveANotePerSignature(t *testing.T) {
	t.Parallel()
	cfg := usual()
	cfg.Notes = true
	l := begin(t, cfg)
	l.sale("A", map[string]any{
		"saleGuid": "A", "status": "Pending", "buyers": buyers("client@x.test", "quiet@x.test"), "sellers": buyers("other@x.test"),
	})
	l.sign(map[string]string{"deal id": "A"}, "Client@x.test", "other@x.test")
	people := l.truth().People
	require.Equal(t, 2, *people["client@x.test"].Notes, "two documents")
	require.Equal(t, 0, *people["quiet@x.test"].Notes)
	require.NotContains(t, people, "other@x.test")
	l.tenant.FollowUpBoss.EffectsFrom = time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC)
	l.now = time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
	l.sale("A", map[string]any{"salePrice": 1})
	require.Equal(t, 0, *l.truth().People["client@x.test"].Notes, "signed before go-live")
	l.tenant.FollowUpBoss.Notes = false
	require.Nil(t, l.truth().People["client@x.test"].Notes)
}

// A story's evidence names the deal that it was made for, or none: never another.
func TestEvidenceOfStoriesIsUnambiguous(t *testing.T) {
	t.Parallel()
	for seed := range int64(2) {
		var tenants []world.Tenant
		for _, id := range []string{"lakeshore", "redrock"} {
			tenants = append(tenants, world.Tenant{ID: id, Accounts: []world.Account{{Vendor: "skyslope", Name: "main"}, {Vendor: "docusign", Name: "main"}}})
		}
		store, err := records.Open("", time.Now)
		require.NoError(t, err)
		meant := map[string]string{}
		for _, step := range story.Plan(tenants, seed, 400) {
			for _, c := range step {
				key := fmt.Sprintf("%s/%s/%s", c.Tenant, c.Vendor, c.Account)
				_, err := store.Put(records.Key{Account: key, Kind: c.Kind, ID: c.GUID}, func(old records.Record, _ time.Time) (records.Change, error) {
					body := records.Merge(old.Body, c.Patch)
					if c.Kind == "sales" {
						body["saleGuid"] = c.GUID
						meant[world.GUID("envelope", strconv.FormatInt(seed, 10), c.GUID)] = key + "/sale/" + c.GUID
					}
					return records.Change{Body: body}, nil
				})
				require.NoError(t, err)
			}
		}
		kinds := map[string]int{}
		for _, tenant := range truth.Of(tenants, store.Now()).Tenants {
			require.Len(t, tenant.Envelopes, len(tenant.Deals))
			for key, e := range tenant.Envelopes {
				kinds[e.Kind]++
				if e.Kind == "none" {
					require.Nil(t, e.Deal)
					continue
				}
				require.NotNil(t, e.Deal, "%s %s", key, e.Kind)
				require.Equal(t, meant[key[len(key)-36:]], *e.Deal, e.Kind)
			}
		}
		for kind, share := range map[string]int{"field": 200, "number": 60, "emails": 80, "address": 40, "none": 20} {
			require.InDelta(t, share, kinds[kind], 30, kind)
		}
	}
}

func FuzzTruthOfAnyEnvelope(f *testing.F) {
	f.Add(`{"recipients":{"signers":[{"email":"a@b","status":"completed","signedDateTime":"x"}]},"customFields":{"textCustomFields":[{"name":"deal id","value":"g"}]}}`)
	f.Add(`{"recipients":[1],"customFields":{"textCustomFields":{"name":"mls number","value":5}},"envelopeDocuments":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var body map[string]any
		if json.Unmarshal([]byte(text), &body) != nil || body == nil {
			t.Skip()
		}
		store, err := records.Open("", time.Now)
		require.NoError(t, err)
		for k, b := range map[records.Key]map[string]any{
			{Account: "t/docusign/a", Kind: "envelopes", ID: "e"}: body,
			{Account: "t/skyslope/a", Kind: "sales", ID: "g"}:     {"saleGuid": "g", "buyers": []any{map[string]any{"email": "a@b"}}},
		} {
			_, err = store.Put(k, func(records.Record, time.Time) (records.Change, error) { return records.Change{Body: b}, nil })
			require.NoError(t, err)
		}
		got := truth.Of([]world.Tenant{{ID: "t", Accounts: []world.Account{{Vendor: "skyslope", Name: "a"}, {Vendor: "docusign", Name: "a"}}}}, store.Now())
		require.Len(t, got.Tenants["t"].Envelopes, 1)
	})
}
