package warehouse_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/consumers/consumerstest"
	"conveyance/consumers/warehouse"
	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

var tables = []string{
	"deal", "deal_participant", "deal_agent", "deal_commission", "deal_fee", "deal_payee",
	"deal_status_history", "contact", "signature", "resource_link",
}

// life is what a few deals tell, and an envelope that was signed for the first of them.
func life(deals int) []event.Event {
	who := consumerstest.Tenant("", "", "{}")
	d := consumerstest.NewDeal(who, "100")
	signed := d.Signed("env-1", "1", d.Participants[0], 1)
	return append(consumerstest.Life(who, deals), signed, linked(signed.Origin.Resource, 1, d.DealKey))
}

// linked is the event of a link of a record, by its number.
func linked(r event.Resource, n int64, deal string) *event.ResourceLinked {
	e := &event.ResourceLinked{DealKey: deal, Rung: event.LinkRungDealField, Evidence: []string{}}
	e.Origin = origin(r, n, e.Type())
	return e
}

func unlinked(r event.Resource, n int64, deal string) *event.ResourceUnlinked {
	e := &event.ResourceUnlinked{DealKey: deal, Reason: "wrong deal"}
	e.Origin = origin(r, n, e.Type())
	return e
}

func origin(r event.Resource, n int64, typ event.Type) event.Origin {
	at := consumerstest.Start.Add(time.Duration(n) * time.Hour)
	return event.Origin{EventID: event.ID(at, r, n, typ, "").String(), Resource: r, Revision: n, ReadAt: at}
}

// The two topics have no order between them, and a topic may carry old after new.
func TestDocumentsBelongToTheDealOfTheLinkInForceWhateverComesFirst(t *testing.T) {
	t.Parallel()
	who := consumerstest.Tenant("", "", "{}")
	a, b := consumerstest.NewDeal(who, "100"), consumerstest.NewDeal(who, "200")
	first, again := a.Signed("env-1", "1", a.Participants[0], 1), b.Signed("env-1", "1", a.Participants[0], 3)
	r := first.Origin.Resource
	link, undo, anew := linked(r, 1, a.DealKey), unlinked(r, 2, a.DealKey), linked(r, 3, b.DealKey)
	for _, order := range [][]event.Event{
		{first, link, undo, anew, again}, {anew, again, undo, first, link}, {undo, anew, link, again, first},
	} {
		pool, schema, project := open(t)
		for _, e := range order {
			project(e)
		}
		docs := consumerstest.Dump(t, pool, schema, []string{"deal_document"})["deal_document"]
		require.Len(t, docs, 1, "one signature, one document")
		require.Contains(t, docs[0], b.DealKey)
	}
	pool, schema, project := open(t)
	project(first, link, undo)
	require.Empty(t, consumerstest.Dump(t, pool, schema, []string{"deal_document"})["deal_document"], "undone")
}

func TestSuite(t *testing.T) {
	t.Parallel()
	consumerstest.ProjectionSuite{
		New:        func(schema string) consumers.Projection { return warehouse.New(schema) },
		Migrations: warehouse.Migrations(),
		Records:    consumerstest.Place(life(3)),
		Tables:     tables,
	}.Run(t)
}

func open(t *testing.T) (*pgxpool.Pool, string, func(events ...event.Event)) {
	pool, schema := testkit.Schema(t)
	consumerstest.Migrate(t, schema, warehouse.Migrations())
	w := warehouse.New(schema)
	return pool, schema, func(events ...event.Event) {
		t.Helper()
		require.NoError(t, postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
			return w.Project(t.Context(), tx, consumerstest.Place(events))
		}))
	}
}

func TestTablesHoldTheLifeOfADeal(t *testing.T) {
	t.Parallel()
	pool, schema, project := open(t)
	project(life(2)...)
	consumerstest.Golden(t, "testdata/tables.golden.json", consumerstest.Dump(t, pool, schema, append(
		[]string{"deal_amount", "deal_commission_amount", "deal_payee_amount", "deal_document"}, tables...)))
}

func TestOlderRevisionNeverOverwritesANewerOneAndItsParts(t *testing.T) {
	t.Parallel()
	pool, schema, project := open(t)
	d := consumerstest.NewDeal(consumerstest.Tenant("", "", "{}"), "100")
	first := d.Tell()
	d.Participants = d.Participants[:1]
	second := d.Tell()
	project(second...)
	before := consumerstest.Dump(t, pool, schema, []string{"deal", "deal_participant", "deal_agent"})
	require.Len(t, before["deal_participant"], 1)
	project(first...)
	require.Equal(t, before, consumerstest.Dump(t, pool, schema, []string{"deal", "deal_participant", "deal_agent"}))
}

func TestCommissionThatIsTakenBackLeavesTheTables(t *testing.T) {
	t.Parallel()
	pool, schema, project := open(t)
	d := consumerstest.NewDeal(consumerstest.Tenant("", "", "{}"), "100")
	d.Commission = &event.Commission{Gross: consumerstest.USD(9_000), Split: []event.Payee{{PayeeKey: "p"}}}
	project(d.Tell()...)
	require.Len(t, consumerstest.Dump(t, pool, schema, tables)["deal_payee"], 1)
	d.Commission = nil
	project(d.Tell()...)
	dump := consumerstest.Dump(t, pool, schema, tables)
	require.Empty(t, dump["deal_payee"])
	require.Empty(t, dump["deal_commission"])
}

func TestTextAndDatesThatPostgresLacksAreLeftOutAndHurtNobody(t *testing.T) {
	t.Parallel()
	pool, schema, project := open(t)
	bad := consumerstest.NewDeal(consumerstest.Tenant("", "", "{}"), "100")
	bad.Name = "a\x00b \\u0000 \xff"
	never := time.Date(-4, 1, 1, 0, 0, 0, 0, time.UTC)
	far := time.UnixMilli(1 << 62)
	bad.ContractDate, bad.CreatedAt = &never, &far
	good := consumerstest.NewDeal(consumerstest.Tenant("", "", "{}"), "200")
	project(append(bad.Tell(), good.Tell()...)...)
	var name string
	var day, created *time.Time
	sql := "SELECT name, purchase_contract_date, created_at FROM {schema}.deal WHERE source_id = '100'"
	require.NoError(t, pool.QueryRow(t.Context(), postgres.In(schema, sql)).Scan(&name, &day, &created))
	require.Equal(t, "ab \\u0000 \ufffd", name)
	require.Nil(t, day)
	require.Nil(t, created)
	require.Len(t, consumerstest.Dump(t, pool, schema, tables)["deal"], 2)
}

func TestAmountsInMajorUnitsFollowTheCurrency(t *testing.T) {
	t.Parallel()
	pool, schema, _ := open(t)
	for currency, want := range map[string]string{"USD": "1234.05", "JPY": "123405", "KWD": "123.405", "CAD": "1234.05"} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(),
			postgres.In(schema, "SELECT {schema}.major_units(123405, $1)::text"), currency).Scan(&got))
		require.Equal(t, want, got, currency)
		require.Equal(t, want, consumers.Major(event.Money{Currency: currency, Minor: 123405}))
	}
}

func TestEveryTableAndColumnIsDescribedAndPersonalDataIsMarked(t *testing.T) {
	t.Parallel()
	pool, schema, _ := open(t)
	rows, err := pool.Query(t.Context(), `
SELECT c.relname, a.attname, coalesce(col_description(c.oid, a.attnum), ''), coalesce(obj_description(c.oid), '')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND c.relname NOT LIKE 'migrations%'`, schema)
	require.NoError(t, err)
	personal := []string{
		"name", "street", "unit_number", "city", "postal_code", "first_name", "last_name", "full_name",
		"company", "emails", "phones", "email", "agent_email", "document_name",
	}
	seen := 0
	var table, column, text, about string
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &text, &about}, func() error {
		seen++
		require.NotEmpty(t, about, table)
		require.NotEmpty(t, text, "%s.%s", table, column)
		want := false
		for _, p := range personal {
			want = want || column == p && table+"."+column != "deal_fee.name"
		}
		require.Equal(t, want, strings.HasPrefix(text, "PERSONAL DATA. "), "%s.%s", table, column)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 100)
}

// counter counts statements, prepared ones only when they run.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	c.n.Add(int64(d.Batch.Len()))
	return ctx
}
func (*counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestLargeBatchTakesNoMoreStatementsThanASmallOne(t *testing.T) {
	t.Parallel()
	pool, schema, _ := open(t)
	cfg := pool.Config()
	count := &counter{}
	cfg.ConnConfig.Tracer = count
	traced, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer traced.Close()
	w := warehouse.New(schema)
	statements := func(deals int) int64 {
		before := count.n.Load()
		require.NoError(t, postgres.Tx(t.Context(), traced, func(tx pgx.Tx) error {
			return w.Project(t.Context(), tx, consumerstest.Place(life(deals)))
		}))
		return count.n.Load() - before
	}
	small := statements(1)
	require.Equal(t, small, statements(9))
	require.LessOrEqual(t, small, int64(18))
}
