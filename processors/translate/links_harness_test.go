package translate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
	"conveyance/processors/link"
	"conveyance/producers"
)

// bureau is a translator of deals (plain) and of a vendor whose records are tied to them (sign), with
// the engine's queue as far as links need it, and a log of all that came out.
type bureau struct {
	*stage
	desk  *link.Desk
	queue map[string][]*stream.Record // records that wait, by key
	log   []stream.Out
	// meanwhile happens between a batch's look for deals and its transaction.
	meanwhile func()
}

func newBureau(t testing.TB) *bureau {
	t.Helper()
	s := open(t)
	m := postgres.Migrations{Schema: s.schema, Set: "engine", Files: ledger.Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	b := &bureau{stage: s, queue: map[string][]*stream.Record{}}
	b.desk = link.NewDesk(s.pool, s.schema, b)
	b.restart()
	return b
}

// restart is another process.
func (b *bureau) restart() {
	b.t.Helper()
	b.metrics = prometheus.NewRegistry()
	var err error
	b.Translator, err = New(Config{Schema: b.schema}, Deps{
		Pool: b.pool, Codec: b.codec, Tenants: anybody{}, Metrics: b.metrics, Vendors: vendorsOfLinks(),
	})
	require.NoError(b.t, err)
}

func vendorsOfLinks() []producers.Vendor {
	return []producers.Vendor{
		{Name: "plain", Mapper: plain{}, Kinds: []string{"sale"}},
		{Name: "sign", Mapper: plain{}, Kinds: []string{"envelope"}, Links: true},
	}
}

// anybody is a directory that knows every tenant, each with a key of its own.
type anybody struct{}

func (anybody) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	return tenant.Tenant{ID: id, PseudonymKey: []byte("key of " + id)}, nil
}

func (anybody) Tenants(context.Context) ([]tenant.Tenant, error) { return nil, nil }

// Nudge is what Kafka would bring: the last accepted snapshot, once more.
func (b *bureau) Nudge(ctx context.Context, r event.Resource) error {
	return NewNudger(b.pool, b.schema, b.codec, published(func(outs ...stream.Out) error {
		for _, o := range outs {
			s, ok := o.Message.(*event.VendorSnapshot)
			require.True(b.t, ok)
			b.feed(s)
		}
		return nil
	})).Nudge(ctx, r)
}

type published func(outs ...stream.Out) error

func (p published) Publish(_ context.Context, outs ...stream.Out) error { return p(outs...) }

func envelope(id string) event.Resource {
	return event.Resource{Tenant: "lakeshore", Vendor: "sign", Account: "main", Kind: "envelope", ID: id}
}

func of(r event.Resource, token int64, f producers.Facts) *event.VendorSnapshot {
	s := read(token, token, f)
	s.Resource, s.Parts[0].Name = r, r.Kind
	return s
}

func claim(kind, value string) producers.Claim { return producers.Claim{Kind: kind, Value: value} }

// claiming is a deal that makes claims.
func claiming(name string, claims ...producers.Claim) producers.Facts {
	f := status(under)
	f.Deal.Name, f.Claims = name, claims
	return f
}

// signed is an envelope with a signature by each of signers.
func signed(r event.Resource, signers []string, claims ...producers.Claim) producers.Facts {
	f := producers.Facts{Claims: claims}
	for _, who := range signers {
		f.Signatures = append(f.Signatures, producers.Signature{
			DocumentID: "1", DocumentName: "Offer", EnvelopeID: r.ID, SignerRole: "Buyer",
			Signer:   event.Contact{FullName: who, Emails: []string{who + "@example.com"}},
			SignedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		})
	}
	return f
}

func id(value string) producers.Claim { return claim(producers.ClaimDealID, value) }

// feed puts snapshots of one topic into the log: as one batch, and those whose key waits behind it.
func (b *bureau) feed(snapshots ...*event.VendorSnapshot) []*verdict.Error {
	b.t.Helper()
	var live []*stream.Record
	for _, s := range snapshots {
		r := b.recordOf(s)
		if key := s.Resource.Key(); b.queue[key] != nil {
			b.queue[key] = append(b.queue[key], r)
			continue
		}
		live = append(live, r)
	}
	if len(live) == 0 {
		return nil
	}
	return b.settle(true, live...)
}

func (b *bureau) recordOf(s *event.VendorSnapshot) *stream.Record {
	b.t.Helper()
	name := topic.Snapshots(s.Resource.Vendor)
	value, err := b.codec.AppendEncode(b.t.Context(), nil, name, s)
	require.NoError(b.t, err)
	b.offset++
	r := streamtest.Record(name, b.offset, s.Resource.Key(), s)
	r.Value = value
	return r
}

// attempt handles records and produces what comes of them, and commits nothing: a crash.
func (b *bureau) attempt(records ...*stream.Record) *stream.Batch {
	b.t.Helper()
	batch := stream.NewBatchOf(records[0].Topic, 0, records...)
	require.NoError(b.t, b.Handle(b.t.Context(), batch))
	b.log = append(b.log, streamtest.Outs(batch)...)
	return batch
}

// settle handles records and commits, with the rows of the queue that the engine would write. Drained
// ones are those of a key in the queue.
func (b *bureau) settle(live bool, records ...*stream.Record) []*verdict.Error {
	b.t.Helper()
	batch := b.attempt(records...)
	if b.meanwhile != nil {
		b.meanwhile()
	}
	var verdicts []*verdict.Error
	err := postgres.Tx(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		verdicts = nil
		for i, res := range batch.Results() {
			verdicts = append(verdicts, res.Verdict)
			r := records[i]
			key := string(r.Key)
			switch v := res.Verdict; {
			case v != nil && v.Kind == verdict.Hold:
				b.exec(tx, `INSERT INTO {schema}.queued_key AS k (topic, key_id, part, tenant, kind, scope, cause, detail, count)
				            VALUES ($1, $2, 0, 'lakeshore', 2, $3, $4, '', 1)
				            ON CONFLICT (topic, key_id) DO UPDATE SET release_wanted = false`, r.Topic, key, string(v.Scope), v.Cause)
				if live {
					b.queue[key] = append(b.queue[key], r)
				}
			case res.Behind && live:
				b.queue[key] = append(b.queue[key], r)
			case res.Behind:
			case !live:
				if b.queue[key] = b.queue[key][1:]; len(b.queue[key]) == 0 {
					delete(b.queue, key)
					b.exec(tx, `DELETE FROM {schema}.queued_key WHERE key_id = $1`, key)
				}
			}
		}
		return batch.Write(b.t.Context(), tx)
	})
	require.NoError(b.t, err)
	return verdicts
}

func (b *bureau) exec(tx pgx.Tx, sql string, args ...any) {
	b.t.Helper()
	_, err := tx.Exec(b.t.Context(), postgres.In(b.schema, sql), args...)
	require.NoError(b.t, err)
}

// woken are the keys that the owner is asked to try again.
func (b *bureau) woken() []string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), postgres.In(b.schema, "SELECT key_id FROM {schema}.queued_key WHERE release_wanted ORDER BY 1"))
	require.NoError(b.t, err)
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return keys
}

// drain tries what was woken, until nothing is.
func (b *bureau) drain() {
	b.t.Helper()
	for keys := b.woken(); len(keys) > 0; keys = b.woken() {
		for _, key := range keys {
			b.settle(false, slices.Clone(b.queue[key])...)
		}
	}
}

// told is what came out of links and signatures since the last look, in words: what, of which record,
// under which deal.
func (b *bureau) told() []string {
	var out []string
	for _, o := range b.log {
		switch e := o.Message.(type) {
		case *event.ResourceLinked:
			out = append(out, fmt.Sprintf("linked %s to %s by %s #%d", e.Origin.Resource.ID, name(e.DealKey), e.Rung, e.Origin.Revision))
		case *event.ResourceUnlinked:
			out = append(out, fmt.Sprintf("unlinked %s from %s #%d", e.Origin.Resource.ID, name(e.DealKey), e.Origin.Revision))
		case *event.DocumentSigned:
			out = append(out, fmt.Sprintf("%s signed %s of %s", e.Signer.FullName, e.Origin.Resource.ID, name(*e.DealKey)))
		}
	}
	b.log = nil
	return out
}

func name(key string) string {
	r, err := event.ParseKey(key)
	if err != nil {
		return key
	}
	return r.ID
}

func (b *bureau) unlinked() []string {
	b.t.Helper()
	all, err := b.desk.List(b.t.Context(), "")
	require.NoError(b.t, err)
	var out []string
	for _, u := range all {
		out = append(out, name(u.Resource))
	}
	slices.Sort(out)
	return out
}

func (b *bureau) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), postgres.In(b.schema, sql), args...).Scan(&n))
	return n
}

func inSchema(b *bureau, sql string) string { return postgres.In(b.schema, sql) }

func subjectEnd(m event.Message) string {
	e, ok := m.(event.Event)
	if !ok {
		return ""
	}
	s := e.Source().Subject
	return s[strings.LastIndexByte(s, '#'):]
}

// counting counts the deals whose claims are written.
type counting struct {
	linker
	deals int
}

func (c *counting) Write(ctx context.Context, tx pgx.Tx, all link.Changes) error {
	c.deals += len(all.Deals)
	return c.linker.Write(ctx, tx, all)
}
