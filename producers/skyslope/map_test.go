package skyslope_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/producers"
	"conveyance/producers/producerstest"
	"conveyance/producers/skyslope"
)

func mapper(t testing.TB) producers.Vendor {
	t.Helper()
	v, err := skyslope.New(producers.Deps{})
	require.NoError(t, err)
	return v
}

func snapshotOf(sale []byte) event.VendorSnapshot {
	return event.VendorSnapshot{Resource: resource(guid), Parts: []event.Part{{Name: "sale", Status: 200, Body: sale}}}
}

// usual is a case of testdata as an object that a test changes.
func usual(t testing.TB, name string) map[string]any {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name, "sale.json"))
	require.NoError(t, err)
	var sale map[string]any
	require.NoError(t, json.Unmarshal(body, &sale))
	return sale
}

func TestEveryKnownStatusHasItsWord(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	word := func(s string) *string { return &s }
	for _, tt := range []struct {
		vendor   string
		closed   any
		status   event.TransactionStatus
		listing  *string
		archived bool
	}{
		{"Pre-Contract", nil, event.TransactionStatusPreContract, nil, false},
		{"Incomplete", nil, event.TransactionStatusPreContract, nil, false},
		{"Pending", nil, event.TransactionStatusUnderContract, word("Pending"), false},
		{" pending ", nil, event.TransactionStatusUnderContract, word("Pending"), false},
		{"Closed", "2026-03-01T00:00:00", event.TransactionStatusClosed, word("Closed"), false},
		{"Canceled/App", nil, event.TransactionStatusCancelled, word("Canceled"), false},
		{"Canceled/Pend", nil, event.TransactionStatusCancelled, word("Canceled"), false},
		{"Expired", nil, event.TransactionStatusExpired, word("Expired"), false},
		{"Archived", "2026-03-01T00:00:00", event.TransactionStatusClosed, word("Closed"), true},
		{"Archived", "0001-01-01T00:00:00", event.TransactionStatusCancelled, word("Canceled"), true},
		{"Attorney Review", nil, event.TransactionStatusUnknown, nil, false},
	} {
		sale := usual(t, "pending")
		sale["status"], sale["actualClosingDate"] = tt.vendor, tt.closed
		body, err := json.Marshal(sale)
		require.NoError(t, err)
		facts, err := v.Mapper.Map(snapshotOf(body))
		require.NoError(t, err)
		require.Equal(t, tt.status, facts.Deal.Status, tt.vendor)
		require.Equal(t, tt.listing, facts.Deal.ListingStatus, tt.vendor)
		require.Equal(t, tt.archived, facts.Deal.Archived, tt.vendor)
		require.Equal(t, strings.TrimSpace(tt.vendor), facts.Deal.VendorStatus)
		require.Equal(t, tt.status == event.TransactionStatusUnknown, len(facts.Drift) > 0, "an unknown word is a drift")
	}
}

func TestWordsOfTheDealTypeSayWhomTheBrokerageRepresents(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	for dealType, want := range map[string]event.Representation{
		"Purchase / Tenant": event.RepresentationBuyer, "Purchase": event.RepresentationBuyer, "BUYER": event.RepresentationBuyer,
		"Listing": event.RepresentationSeller, "Sale / Landlord": event.RepresentationSeller, "Seller's side": event.RepresentationSeller,
		"Both": event.RepresentationBoth, "Dual Agency": event.RepresentationBoth, "Purchase and Listing": event.RepresentationBoth,
		"Referral": event.RepresentationUnknown, "": event.RepresentationUnknown, "Wholesaler": event.RepresentationUnknown,
	} {
		body, err := json.Marshal(map[string]any{"saleGuid": guid, "status": "Pending", "modifiedOn": "2026-01-01T00:00:00", "dealType": dealType})
		require.NoError(t, err)
		facts, err := v.Mapper.Map(snapshotOf(body))
		require.NoError(t, err)
		require.Equal(t, want, facts.Deal.Representation, dealType)
	}
}

func TestDatesAreTheDayAsWrittenInEveryZone(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	rapid.Check(t, func(t *rapid.T) {
		day := time.Date(rapid.IntRange(2, 9998).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month")),
			rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		at := day.Add(time.Duration(rapid.IntRange(0, 86399).Draw(t, "second")) * time.Second)
		layout := rapid.SampledFrom([]string{"2006-01-02T15:04:05", "2006-01-02T15:04:05.000", "2006-01-02"}).Draw(t, "layout")
		body, err := json.Marshal(map[string]any{
			"saleGuid": guid, "status": "Pending", "modifiedOn": "2026-01-01T00:00:00", "escrowClosingDate": at.Format(layout),
		})
		require.NoError(t, err)
		facts, err := v.Mapper.Map(snapshotOf(body))
		require.NoError(t, err)
		require.Equal(t, day, *facts.Deal.ProjectedCloseDate)
	})
}

// TestAnyRecordMapsOrNamesItsPath breaks a usual record at random places.
func TestAnyRecordMapsOrNamesItsPath(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	paths := []string{"status", "saleGuid", "buyers", "salePrice", "commission", "commissionSplits", "property", "stage", "escrowClosingDate", "agentGuid", "coAgents"}
	values := []any{nil, true, 7, -1.5, 1e300, "", "text", []any{}, []any{nil, 1, "x"}, map[string]any{}, map[string]any{"email": 1}, []any{map[string]any{"amount": "x"}}}
	rapid.Check(t, func(rt *rapid.T) {
		sale := usual(t, rapid.SampledFrom([]string{"pending", "closed", "participants"}).Draw(rt, "case"))
		for range rapid.IntRange(1, 3).Draw(rt, "breaks") {
			sale[rapid.SampledFrom(paths).Draw(rt, "path")] = rapid.SampledFrom(values).Draw(rt, "value")
		}
		body, err := json.Marshal(sale)
		require.NoError(rt, err)
		checkMap(rt, v, body)
	})
}

func FuzzMap(f *testing.F) {
	v := mapper(f)
	cases, err := filepath.Glob("testdata/*/sale.json")
	require.NoError(f, err)
	for _, c := range cases {
		body, err := os.ReadFile(c)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkMap(t, v, body) })
}

// checkMap maps twice and holds what readers rely on.
func checkMap(t require.TestingT, v producers.Vendor, body []byte) {
	facts, mapped := producerstest.Pure(t, v.Mapper, func() event.VendorSnapshot { return snapshotOf(body) })
	if !mapped {
		return
	}
	d := facts.Deal
	require.NotEmpty(t, d.Name)
	for _, m := range []*event.Money{d.ListPrice, d.SalePrice, d.EarnestMoney} {
		require.True(t, m == nil || (m.Minor >= 0 && m.Minor <= producers.AmountMinorMax))
	}
	for _, at := range []*time.Time{d.ContractDate, d.ProjectedCloseDate, d.CloseDate} {
		require.True(t, at == nil || at.Year() > 1 && at.Equal(at.Truncate(24*time.Hour)))
	}
	for _, p := range d.Participants {
		c := p.Contact
		require.False(t, c.FullName == "" && c.Company == "" && len(c.Emails) == 0 && len(c.Phones) == 0)
	}
	for _, drift := range facts.Drift {
		require.LessOrEqual(t, len(drift.Path), 100)
	}
}

func BenchmarkMap(b *testing.B) {
	v := mapper(b)
	snap := producerstest.Snapshot(b, v, "testdata/closed")
	b.SetBytes(int64(len(snap.Parts[0].Body) + len(snap.Parts[1].Body)))
	for b.Loop() {
		if _, err := v.Mapper.Map(snap); err != nil {
			b.Fatal(err)
		}
	}
}
