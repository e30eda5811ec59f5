package bench

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/producers"
	"conveyance/producers/docusign"
)

func TestEveryWebhookOfEndToEndIsOneRowOnItsDeal(t *testing.T) {
	t.Parallel()
	const deals = 30
	l, err := open(t.Context(), Options{Records: deals, Seconds: 1, Dir: t.TempDir(), Notes: io.Discard}, benchmark{name: "end-to-end"})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	ours, ceiling, err := endToEnd(t.Context(), l)
	require.NoError(t, err)
	require.Equal(t, float64(offered), ceiling.value)
	require.Positive(t, ours.p50)
	require.GreaterOrEqual(t, ours.p99, ours.p50)

	is := map[string]string{}
	rows, err := l.pool.Query(t.Context(), postgres.In("warehouse", "SELECT resource_key, deal_key FROM {schema}.deal_document"))
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var envelope, deal string
		require.NoError(t, rows.Scan(&envelope, &deal))
		require.NotContains(t, is, envelope, "two rows of one webhook")
		is[envelope] = deal
	}
	require.NoError(t, rows.Err())
	want := map[string]string{}
	for i := range 2 * offered { // those that count, and those before them
		want[envelopeOf(i).Key()] = snapshot(i % deals).Resource.Key()
	}
	require.Equal(t, want, is)
}

func TestAWebhookOfTheLoadHoldsItsEnvelopeWhole(t *testing.T) {
	t.Parallel()
	v, err := docusign.New(producers.Deps{})
	require.NoError(t, err)
	body := envelope(7, 5)
	require.Greater(t, len(body), deliveryBytes)
	d, err := v.Webhook.Hints(body)
	require.NoError(t, err)
	require.Equal(t, []event.Resource{{Vendor: docusign.Name, Kind: docusign.KindEnvelope, ID: envelopeOf(7).ID}}, d.Resources)
	require.NotNil(t, d.Fact, "it would be read at the vendor")
	f, err := v.Mapper.Map(*d.Fact)
	require.NoError(t, err)
	require.Len(t, f.Signatures, 1)
	require.Empty(t, f.Drift)
	require.Contains(t, f.Claims, producers.Claim{Kind: producers.ClaimField + "deal id", Value: snapshot(2).Resource.ID})
}
