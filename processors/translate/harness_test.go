package translate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/processors/link"
	"conveyance/producers"
)

// plain is a vendor whose records are Facts in JSON, or one of the words below.
type plain struct{}

const (
	breaks = "breaks the contract"
	panics = "panics"
)

func (plain) Map(s event.VendorSnapshot) (producers.Facts, error) {
	var f producers.Facts
	switch body := string(s.Parts[0].Body); body {
	case breaks:
		return f, &producers.ContractError{Path: "/status", Why: "is missing"}
	case panics:
		panic("a value that may hold anything")
	default:
		return f, json.Unmarshal([]byte(body), &f)
	}
}

// directory knows one tenant, or two.
type directory struct{ late bool }

func (d *directory) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	if id != "lakeshore" && (!d.late || id != "late") {
		return tenant.Tenant{}, fmt.Errorf("tenant %s: %w", id, tenant.ErrUnknown)
	}
	return tenant.Tenant{ID: id, PseudonymKey: []byte("key of " + id)}, nil
}

func (d *directory) Tenants(context.Context) ([]tenant.Tenant, error) { return nil, nil }

// stage is a translator on a schema of its own.
type stage struct {
	*Translator
	t       testing.TB
	pool    *pgxpool.Pool
	schema  string
	codec   *wire.Codec
	tenants *directory
	metrics *prometheus.Registry
	log     *zap.Logger // nil = none
	offset  int64
}

func open(t testing.TB) *stage {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "own", Files: Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	s := &stage{t: t, pool: pool, schema: schema, codec: codec(t), tenants: &directory{}}
	s.restart(plain{})
	return s
}

// restart is another process with another build.
func (s *stage) restart(m producers.Mapper) {
	s.t.Helper()
	s.metrics = prometheus.NewRegistry()
	var err error
	s.Translator, err = New(Config{Schema: s.schema}, Deps{
		Pool: s.pool, Codec: s.codec, Tenants: s.tenants, Metrics: s.metrics, Log: s.log,
		Vendors: []producers.Vendor{{Name: "plain", Mapper: m, Kinds: []string{"sale"}}},
	})
	require.NoError(s.t, err)
}

func resource(id string) event.Resource {
	return event.Resource{Tenant: "lakeshore", Vendor: "plain", Account: "main", Kind: "sale", ID: id}
}

// read is a snapshot of record 1 that was read with a token.
func read(version, token int64, f producers.Facts) *event.VendorSnapshot {
	body, err := json.Marshal(f)
	if err != nil {
		panic(err) // of a struct without channels
	}
	return raw(version, token, string(body))
}

func raw(version, token int64, body string) *event.VendorSnapshot {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(token) * time.Second)
	parts := []event.Part{{Name: "sale", Status: 200, FetchedAt: at, Body: []byte(body)}}
	return &event.VendorSnapshot{
		Resource: resource("1"), Version: version, Token: token, ReadAt: at, Lane: "live", Digest: producers.Digest(parts), Parts: parts,
	}
}

func tombstone(token int64) *event.VendorSnapshot {
	s := raw(99, token, "") // a version that must not count
	s.Gone, s.Parts, s.Digest = true, nil, producers.Digest(nil)
	return s
}

func status(s event.TransactionStatus) producers.Facts {
	return producers.Facts{Deal: &event.Deal{
		Name: "1420 Larkspur Lane", Status: s, VendorStatus: string(s), Representation: event.RepresentationBuyer,
	}}
}

// record puts a snapshot at the next offset.
func (s *stage) record(m *event.VendorSnapshot) *stream.Record {
	s.t.Helper()
	value, err := s.codec.AppendEncode(s.t.Context(), nil, topic.Snapshots("plain"), m)
	require.NoError(s.t, err)
	s.offset++
	r := streamtest.Record(topic.Snapshots("plain"), s.offset, m.Resource.Key(), m)
	r.Value = value
	return r
}

// handle translates snapshots as one batch.
func (s *stage) handle(snapshots ...*event.VendorSnapshot) *stream.Batch {
	s.t.Helper()
	var records []*stream.Record
	for _, m := range snapshots {
		records = append(records, s.record(m))
	}
	return streamtest.MustHandle(s.t, s.Translator, s.pool, records...)
}

// events translates snapshots and returns what came out.
func (s *stage) events(snapshots ...*event.VendorSnapshot) []event.Event {
	s.t.Helper()
	return eventsOf(s.handle(snapshots...))
}

func eventsOf(b *stream.Batch) []event.Event {
	var out []event.Event
	for _, o := range streamtest.Outs(b) {
		if e, ok := o.Message.(event.Event); ok {
			out = append(out, e)
		}
	}
	return out
}

// row is the state of record 1.
func (s *stage) row() (version, token, goneToken, revision int64) {
	s.t.Helper()
	err := s.pool.QueryRow(s.t.Context(), postgres.In(s.schema,
		"SELECT version, token, gone_token, revision FROM {schema}.translate_state WHERE resource = $1"), resource("1").Key()).
		Scan(&version, &token, &goneToken, &revision)
	require.NoError(s.t, err)
	return version, token, goneToken, revision
}

// types lists events as type@revision.
func types(events []event.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, string(e.Type())+"@"+strconv.FormatInt(e.Source().Revision, 10))
	}
	return out
}

// shelf is a store in memory, for what tries many logs.
type shelf struct {
	rows      map[string]held
	revisions map[revised]bool
}

func newShelf() *shelf { return &shelf{rows: map[string]held{}, revisions: map[revised]bool{}} }

func (s *shelf) load(_ context.Context, keys []string) (map[string]held, error) {
	out := map[string]held{}
	for _, k := range keys {
		if h, ok := s.rows[k]; ok {
			out[k] = h
		}
	}
	return out, nil
}

func (s *shelf) save(_ context.Context, _ pgx.Tx, rows []*row, bodies []byte, revisions []revised) error {
	for _, r := range rows {
		h := r.held
		h.facts, h.body, h.cost = nil, s.rows[r.key].body, 0
		if r.size > 0 {
			h.body, bodies = bodies[:r.size:r.size], bodies[r.size:]
		}
		s.rows[r.key] = h
	}
	for _, r := range revisions {
		s.revisions[r] = true
	}
	return nil
}

func (*shelf) drift(context.Context, pgx.Tx, map[drifted]int) error { return nil }

// untied is a linker that ties nothing, for what needs no Postgres.
type untied struct{ written int } // deals whose claims were written

func (*untied) Read(context.Context, []string) (map[string]link.Links, error) { return nil, nil }

func (*untied) Decide(context.Context, []link.Record) (map[string]link.Links, error) { return nil, nil }

func (u *untied) Write(_ context.Context, _ pgx.Tx, c link.Changes) error {
	u.written += len(c.Deals)
	return nil
}

// codec compiles the schemas once for all tests.
func codec(t require.TestingT) *wire.Codec {
	c, err := compiled()
	require.NoError(t, err)
	return c
}

var compiled = sync.OnceValues(func() (*wire.Codec, error) { return wire.New(wire.Config{}) })

// onShelf is a translator without Postgres.
func onShelf(t require.TestingT, s store, vendors ...producers.Vendor) *Translator {
	if len(vendors) == 0 {
		vendors = []producers.Vendor{{Name: "plain", Mapper: plain{}, Kinds: []string{"sale"}}}
	}
	tr, err := New(Config{}, Deps{Codec: codec(t), Tenants: &directory{}, Vendors: vendors})
	require.NoError(t, err)
	tr.store, tr.linker = s, &untied{}
	return tr
}

var errLost = errors.New("the transaction is lost")
