package judge_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/consumers/followupboss"
	"conveyance/consumers/timeline"
	"conveyance/consumers/warehouse"
	"conveyance/internal/judge"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/sandbox/truth"
	"conveyance/internal/testkit"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
)

// obj is a record of a simulated vendor.
type obj = map[string]any

// history is what a run left behind: two tenants with a deal and a person each, and an envelope that was
// signed once.
type history struct {
	t      *testing.T
	pool   *pgxpool.Pool
	truth  truth.Truth
	crm    map[string]map[string][]obj // kind, tenant
	asked  map[string][]obj            // vendor
	told   []obj                       // deliveries
	ends   map[string]int64
	log    []judge.Entry
	bench  judge.Bench
	byHand func(context.Context) // what happens after the tables were filled
}

const (
	lake   = "lakeshore/skyslope/main/sale/L1"
	red    = "redrock/skyslope/main/sale/R1"
	paper  = "lakeshore/docusign/main/envelope/E1"
	dealID = "00000000-0000-8000-8000-000000000001"
	signID = "00000000-0000-8000-8000-000000000002"
	redID  = "00000000-0000-8000-8000-000000000003"
)

var (
	since   = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	hintLog = `{"data":{"envelopeId":"E1"}}`
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// value is a record's as the log holds it: framed, with what the body does not say around it.
func value(body string) []byte { return []byte("\x00\x00\x00\x00\x01\x12lakeshore" + body + "\x00") }

func tenantOf(key, email string, notes int) truth.Tenant {
	return truth.Tenant{
		Deals: map[string]truth.Deal{key: {
			Warehouse:    truth.Warehouse{Status: "CLOSED", VendorStatus: "Closed", Currency: "USD"},
			FollowUpBoss: truth.FollowUpBoss{Deal: &truth.CRMDeal{Stage: "Closed", Stages: []string{"Closed"}, People: 1}},
		}},
		People: map[string]truth.Person{email: {Count: 1, Stages: []string{"Closed"}, Notes: &notes}},
	}
}

func clean(t *testing.T, pool *pgxpool.Pool) *history {
	person := func(id int, email string) obj {
		return obj{"id": id, "stage": "Closed", "emails": []obj{{"value": email}}}
	}
	deal := func(id int, key string) obj {
		return obj{"id": id, "customConveyanceKey": "ref-" + key, "stageName": "Closed", "people": []int{id}}
	}
	h := &history{
		t: t, pool: pool,
		truth: truth.Truth{Tenants: map[string]truth.Tenant{
			"lakeshore": tenantOf(lake, "anna@example.com", 1), "redrock": tenantOf(red, "rob@example.com", 0),
		}},
		crm: map[string]map[string][]obj{
			"deals":  {"lakeshore": {deal(1, lake)}, "redrock": {deal(2, red)}},
			"people": {"lakeshore": {person(1, "Anna@example.com")}, "redrock": {person(2, "rob@example.com")}},
			"notes":  {"lakeshore": {{"personId": 1, "subject": "Document signed"}}, "redrock": {}},
		},
		asked: map[string][]obj{
			"docusign": {{"n": 1, "account": "lakeshore/main", "method": "GET", "path": "/envelopes/E1", "status": 200}},
			"skyslope": {{"n": 1, "account": "redrock/main", "method": "GET", "path": "/api/files/sales/R1", "status": 200}},
		},
		told: []obj{{
			"n": 1, "account": "lakeshore/main", "envelope": "E1", "url": "http://door/in/docusign/token", "status": "sent",
			"attempts": 1, "body_sha256": sum(hintLog),
		}},
		ends: map[string]int64{"deals.v1/0": 3, "webhooks.docusign.v1/0": 1},
		log: []judge.Entry{
			{Topic: "webhooks.docusign.v1", At: since, Key: "lakeshore/docusign/main/1", ID: "1", Value: value(hintLog)},
			{Topic: "deals.v1", Offset: 0, Key: lake, ID: dealID},
			{Topic: "deals.v1", Offset: 1, Key: lake, ID: signID},
			{Topic: "deals.v1", Offset: 2, Key: red, ID: redID},
		},
		byHand: func(context.Context) {},
	}
	lakeshore := h.truth.Tenants["lakeshore"]
	key := lake
	lakeshore.Envelopes = map[string]truth.Envelope{paper: {Deal: &key, Signatures: 1, Kind: "field"}}
	h.truth.Tenants["lakeshore"] = lakeshore
	return h
}

// tables is what the product's tables hold after a clean run.
const tables = `
DELETE FROM warehouse.deal;
DELETE FROM warehouse.deal_participant;
DELETE FROM warehouse.signature;
DELETE FROM warehouse.resource_link;
DELETE FROM followupboss.deal_link;
DELETE FROM timeline.entry;
DELETE FROM "fetch".resource;
INSERT INTO warehouse.deal (deal_key, tenant, vendor, account, source_id, revision, read_at, name, status, vendor_status, stage,
  archived, gone, representation, deal_type, listing_id, escrow_number, office_key)
SELECT key, split_part(key, '/', 1), 'skyslope', 'main', split_part(key, '/', 5), 2, now(), '', 'CLOSED', 'Closed', '',
  false, false, '', '', '', '', '' FROM unnest(ARRAY['` + lake + `', '` + red + `']) AS key;
INSERT INTO warehouse.signature VALUES ('` + paper + `', '1', 'c1', 'lakeshore', 'E1', '', '', '{}', '', now(), true, now());
INSERT INTO warehouse.resource_link VALUES ('` + paper + `', 'lakeshore', '` + lake + `', 1, 'FIELD', now());
INSERT INTO followupboss.deal_link VALUES ('lakeshore', 'main', '` + lake + `', 1, '{}', '{}'), ('redrock', 'main', '` + red + `', 2, '{}', '{}');
INSERT INTO timeline.entry (tenant, deal_key, at, kind, topic, part, pos, event_id, version, line)
VALUES ('lakeshore', '` + lake + `', now(), 'meaning', 'deals.v1', 0, 0, '` + dealID + `', 1, '')`

// engine is what each group's tables hold.
const engine = `
DELETE FROM {schema}.consumer_offsets;
DELETE FROM {schema}.ledger;
DELETE FROM {schema}.ledger_gap;
DELETE FROM {schema}.versions;
DELETE FROM {schema}.queued_key;
DELETE FROM {schema}.queued_record;
DELETE FROM {schema}.queue_audit;
INSERT INTO {schema}.consumer_offsets (topic, part, next_offset, owner) VALUES ('deals.v1', 0, 3, gen_random_uuid());
INSERT INTO {schema}.versions VALUES ('` + lake + `', 'deal', 2, '` + dealID + `');
INSERT INTO {schema}.ledger (eid, step, pos, topic, part, state, key_id, done_at)
VALUES ('` + dealID + `', 0, 0, 'deals.v1', 0, 2, 'k1', '2026-11-01'), ('` + signID + `', 0, 1, 'deals.v1', 0, 2, 'k1', '2026-11-02'),
  ('` + redID + `', 0, 2, 'deals.v1', 0, 2, 'k2', '2026-11-01')`

func groups() map[string]string {
	return map[string]string{"followupboss": "followupboss", "warehouse": "warehouse", "timeline": "timeline"}
}

// prepare makes the product's tables.
func prepare(t *testing.T) *pgxpool.Pool {
	t.Helper()
	url := testkit.Database(t)
	pool, err := postgres.Open(t.Context(), url, "judge")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	own := []postgres.Migrations{
		{Schema: "fetch", Set: "own", Files: fetch.Migrations()},
		{Schema: "translate", Set: "own", Files: translate.Migrations()},
		{Schema: "followupboss", Set: "own", Files: followupboss.Migrations()},
		{Schema: "warehouse", Set: "own", Files: warehouse.Migrations()},
		{Schema: "timeline", Set: "own", Files: timeline.Migrations()},
	}
	for group := range groups() {
		own = append(own, postgres.Migrations{Schema: group, Set: "engine", Files: ledger.Migrations()})
	}
	for _, m := range own {
		require.NoError(t, m.Apply(t.Context(), url))
	}
	return pool
}

// judged lays the history before the judge.
func (h *history) judged(ctx context.Context) judge.Verdict {
	h.t.Helper()
	h.exec(ctx, `DROP SCHEMA IF EXISTS judge CASCADE`)
	h.exec(ctx, tables)
	for _, schema := range groups() {
		h.exec(ctx, postgres.In(schema, engine))
	}
	h.byHand(ctx)
	server := httptest.NewServer(http.HandlerFunc(h.serve))
	defer server.Close()
	b := h.bench
	b.Pool, b.Sandbox, b.Ends, b.Groups = h.pool, server.URL, h.ends, groups()
	if b.Since = since; h.log != nil {
		b.Log = h.entries()
	}
	v, err := judge.Judge(ctx, b)
	require.NoError(h.t, err)
	return v
}

func (h *history) entries() iter.Seq2[judge.Entry, error] {
	return func(yield func(judge.Entry, error) bool) {
		for _, e := range h.log {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (h *history) exec(ctx context.Context, sql string, args ...any) {
	h.t.Helper()
	_, err := h.pool.Exec(ctx, sql, args...)
	require.NoError(h.t, err)
}

// serve is the simulated vendors' control.
func (h *history) serve(w http.ResponseWriter, r *http.Request) {
	var vendor, kind string
	var answer any = h.truth
	if n, _ := fmt.Sscanf(r.URL.Path, "/_control/docusign/%s", &kind); n == 1 && kind == "deliveries" {
		answer = h.told
	} else if vendor, kind = cut(r.URL.Path); kind == "requests" {
		answer = append([]obj{}, h.asked[vendor]...)
	} else if kind != "" {
		answer = append([]obj{}, h.crm[kind][r.URL.Query().Get("tenant")]...)
	}
	_ = json.NewEncoder(w).Encode(answer)
}
