package judge_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/judge"
)

// cut is the vendor and the kind of a control call.
func cut(path string) (vendor, kind string) {
	vendor, kind, _ = strings.Cut(strings.TrimPrefix(path, "/_control/"), "/")
	return vendor, kind
}

// flaw is one thing that is wrong with a history, and the one finding that it must be.
type flaw struct {
	name string
	sort string
	says string
	make func(*history)
}

// sql makes a flaw in the tables.
func sql(text string) func(*history) {
	return func(h *history) { h.byHand = func(ctx context.Context) { h.exec(ctx, text) } }
}

// sent makes a delivery of the lab's own, which is in the log under a key; nowhere where it is empty.
func sent(s judge.Sent, key string) func(*history) {
	return func(h *history) {
		s.Body = []byte(`{"envelopeId":"E1","n":2}`)
		h.bench.Sent = append(h.bench.Sent, s)
		if key != "" {
			h.log = append(h.log, judge.Entry{Topic: "webhooks.docusign.v1", Offset: 1, At: since, Key: key, Value: value(string(s.Body))})
		}
	}
}

var flaws = []flaw{
	{"accepted and not in the log", "lost", "answered with 2xx, and is not in the log", func(h *history) { h.log = h.log[1:] }},
	{"the lab's own accepted and not in the log", "lost", "not in the log", sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 200}, "")},
	{"refused though it was due", "lost", "answered with 503", sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 503, Due: true}, "")},
	{"an event skipped over", "lost", "warehouse is past deals.v1/0 at 2", sql(`DELETE FROM warehouse.ledger WHERE pos = 2`)},
	{"a deal missing in the warehouse", "lost", "warehouse has no deal " + red, sql(`DELETE FROM warehouse.deal WHERE tenant = 'redrock'`)},
	{"a deal missing in the CRM", "lost", "CRM has no deal " + red, func(h *history) { h.crm["deals"]["redrock"] = nil }},
	{"a person missing in the CRM", "lost", "no person rob@", func(h *history) { h.crm["people"]["redrock"] = nil }},
	{"a note missing", "lost", "0 notes of signatures, not 1", func(h *history) { h.crm["notes"]["lakeshore"] = nil }},
	{"a signature missing", "lost", "0 signatures in the warehouse", sql(`DELETE FROM warehouse.signature`)},
	{"a record in the queue whose key is free", "lost", "record left in the queue", sql(`INSERT INTO followupboss.queued_record
		(topic, part, pos, key_id, headers, at, cause) VALUES ('deals.v1', 0, 2, 'k2', '{}', now(), 'behind')`)},

	{"a deal twice in the CRM", "duplicated", "2 deals with reference", func(h *history) {
		h.crm["deals"]["redrock"] = append(h.crm["deals"]["redrock"], obj{"id": 3, "customConveyanceKey": "ref-" + red})
	}},
	{"a person twice in the CRM", "duplicated", "2 people for rob@", func(h *history) {
		h.crm["people"]["redrock"] = append(h.crm["people"]["redrock"], h.crm["people"]["redrock"][0])
	}},
	{"a note twice", "duplicated", "2 notes of signatures, not 1", func(h *history) {
		h.crm["notes"]["lakeshore"] = append(h.crm["notes"]["lakeshore"], h.crm["notes"]["lakeshore"][0])
	}},
	{"a signature twice", "duplicated", "2 signatures in the warehouse", sql(`INSERT INTO warehouse.signature
		SELECT resource_key, '2', contact_key, tenant, envelope_id, '', '', '{}', '', signed_at, true, read_at FROM warehouse.signature`)},
	{"an event twice in the timeline", "duplicated", "timeline tells event " + dealID, sql(`INSERT INTO timeline.entry
		(tenant, deal_key, at, kind, topic, part, pos, event_id, version, line) SELECT tenant, deal_key, at, kind, topic, part, 7, event_id, 1, '' FROM timeline.entry`)},

	{"an older state in the warehouse", "misordered", "warehouse deal " + red, sql(`UPDATE warehouse.deal SET status = 'PRE_CONTRACT' WHERE tenant = 'redrock'`)},
	{"an older stage in the CRM", "misordered", "CRM deal " + red, func(h *history) { h.crm["deals"]["redrock"][0]["stageName"] = "Offer" }},
	{"an older stage of a person", "misordered", `stage "Lead"`, func(h *history) { h.crm["people"]["redrock"][0]["stage"] = "Lead" }},
	{"an envelope on another deal", "misordered", "is on deal " + red, sql(`UPDATE warehouse.resource_link SET deal_key = '` + red + `'`)},
	{"effects of a key out of order", "misordered", "effect before its predecessor", sql(`UPDATE followupboss.ledger SET done_at = '2026-10-01' WHERE pos = 1`)},
	{"effects of a key out of order where no log is read", "misordered", "effect before its predecessor", func(h *history) {
		h.log = nil
		sql(`UPDATE followupboss.ledger SET done_at = '2026-10-01' WHERE pos = 1`)(h)
	}},
	{
		"effects of a key out of order, under keys of the ledger's own", "misordered", "effect before its predecessor",
		sql(`UPDATE followupboss.ledger SET done_at = '2026-10-01', key_id = 'another' WHERE pos = 1`),
	},

	{"an offset before the log's end", "unexplained", "whose end is 4", func(h *history) { h.ends["deals.v1/0"], h.bench.Quota = 4, true; onlyWarehouse(h) }},
	{"a key in the queue", "unexplained", "key in the queue", sql(`INSERT INTO warehouse.queued_key
		(topic, key_id, part, tenant, kind, scope, cause, detail, count) VALUES ('deals.v1', 'k2', 0, 'redrock', 3, 'key', 'undecodable', '', 1)`)},
	{"an effect in doubt", "unexplained", "effect without an end", sql(`UPDATE followupboss.ledger SET state = 1, done_at = NULL WHERE pos = 2`)},
	{"a record not read", "unexplained", "not read", sql(`INSERT INTO "fetch".resource (key, tenant, vendor, account, kind, id, dirty_since)
		VALUES ('` + red + `', 'redrock', 'skyslope', 'main', 'sale', 'R1', now())`)},

	{"refused and in the log", "phantom", "was refused with 401", sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 401}, "lakeshore/docusign/main/2")},
	{"in the log and delivered by nobody", "phantom", "holds a delivery that nobody made", func(h *history) {
		h.log = append(h.log, judge.Entry{Topic: "webhooks.docusign.v1", Offset: 1, At: since, Key: "lakeshore/docusign/main/2", Value: value(`{"envelopeId":"E2"}`)})
	}},
	{"an effect of no event", "phantom", "followupboss has an effect of event 00000000", sql(`INSERT INTO followupboss.ledger (eid, step, pos, topic, part, state, done_at)
		VALUES ('00000000-0000-8000-8000-0000000000ff', 0, 2, 'deals.v1', 0, 2, now())`)},
	{"a deal that no vendor has, in the CRM", "phantom", "CRM of redrock has a deal that no vendor has", func(h *history) {
		h.crm["deals"]["redrock"] = append(h.crm["deals"]["redrock"], obj{"id": 3, "customConveyanceKey": "ref-R2"})
	}},
	{"a deal that no vendor has, in the warehouse", "phantom", "warehouse has a deal that no vendor has", sql(another("redrock/skyslope/main/sale/R2", "redrock"))},
	{"a deal that should have no effect", "phantom", "should have no effect", func(h *history) {
		d := h.truth.Tenants["redrock"].Deals[red]
		d.FollowUpBoss.Deal = nil
		h.truth.Tenants["redrock"].Deals[red] = d
	}},

	{"another tenant's deal in the CRM", "crossed", "CRM of redrock has lakeshore's deal with reference ref-" + lake, func(h *history) {
		h.crm["deals"]["redrock"] = append(h.crm["deals"]["redrock"], obj{"id": 3, "customConveyanceKey": "ref-" + lake})
	}},
	{"another tenant's person in the CRM", "crossed", "CRM of redrock has person anna@", func(h *history) {
		h.crm["people"]["redrock"] = append(h.crm["people"]["redrock"], h.crm["people"]["lakeshore"][0])
	}},
	{"another tenant's deal in the warehouse", "crossed", "as redrock's", sql(another("lakeshore/skyslope/main/sale/L2", "redrock"))},
	{"another tenant's record asked for", "crossed", "was asked by redrock for lakeshore's", func(h *history) {
		h.asked["docusign"] = append(h.asked["docusign"], obj{"n": 2, "account": "redrock/main", "method": "GET", "path": "/envelopes/E1", "status": 404})
	}},
	{"a delivery in another tenant's name", "crossed", "is in the log as redrock", sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 200}, "redrock/docusign/main/2")},

	{"a call above the quota", "overrun", "for its quota", func(h *history) {
		h.bench.Quota = true
		h.asked["followupboss"] = append(h.asked["followupboss"], obj{"n": 2, "account": "redrock/main", "method": "POST", "path": "/v1/notes", "status": 429})
	}},
}

// onlyWarehouse leaves the other groups at the log's end.
func onlyWarehouse(h *history) {
	h.byHand = func(ctx context.Context) {
		h.exec(ctx, `UPDATE followupboss.consumer_offsets SET next_offset = 4; UPDATE timeline.consumer_offsets SET next_offset = 4`)
	}
}

// another is a second deal of a tenant in the warehouse.
func another(key, tenant string) string {
	return `INSERT INTO warehouse.deal (deal_key, tenant, vendor, account, source_id, revision, read_at, name, status, vendor_status, stage,
	  archived, gone, representation, deal_type, listing_id, escrow_number, office_key)
	SELECT '` + key + `', '` + tenant + `', vendor, account, source_id, 1, now(), name, status, vendor_status, stage,
	  archived, gone, representation, deal_type, listing_id, escrow_number, office_key FROM warehouse.deal LIMIT 1`
}

func TestCleanHistoryGivesZeros(t *testing.T) {
	t.Parallel()
	v := clean(t, prepare(t)).judged(t.Context())
	require.Equal(t, "lost=0 duplicated=0 misordered=0 unexplained=0 phantom=0 crossed=0 overrun=0 "+
		"(deals 2, people 2, envelopes 1, unlinked 0, effects 6; received 6 = applied 6 + copies 0 + waiting 0 + dropped 0)", v.String())
	require.True(t, v.Clean())
}

func TestEachFlawOfAHistoryIsExactlyOneFinding(t *testing.T) {
	t.Parallel()
	pool := prepare(t)
	for _, f := range flaws {
		t.Run(f.name, func(t *testing.T) { //nolint:paralleltest // one database
			h := clean(t, pool)
			f.make(h)
			v := h.judged(t.Context())
			require.False(t, v.Clean())
			for _, found := range v.Findings() {
				if found.Name != f.sort {
					require.Empty(t, found.All, found.Name)
					continue
				}
				require.Len(t, found.All, 1)
				require.Contains(t, found.All[0], f.says)
			}
		})
	}
}

// What looks like a flaw and is none.
func TestJudgeAccusesNobody(t *testing.T) {
	t.Parallel()
	pool := prepare(t)
	for name, make := range map[string]func(*history){
		"an unanswered delivery in the log":  sent(judge.Sent{Account: "lakeshore/docusign/main"}, "lakeshore/docusign/main/2"),
		"an unanswered delivery not in it":   sent(judge.Sent{Account: "lakeshore/docusign/main"}, ""),
		"a delivery refused and not in it":   sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 401}, ""),
		"a delivery answered late and in it": sent(judge.Sent{Account: "lakeshore/docusign/main", Status: 503}, "lakeshore/docusign/main/2"),
		"an earlier attempt in the log": func(h *history) {
			h.told[0]["attempts"] = 2
			h.log = append(h.log, judge.Entry{Topic: "webhooks.docusign.v1", Offset: 1, At: since, Key: "lakeshore/docusign/main/1", Value: value(`{"envelopeId":"E1","retryCount":0}`)})
		},
		"a delivery before the vendor's memory": func(h *history) {
			h.log = append(h.log, judge.Entry{Topic: "webhooks.docusign.v1", Offset: 1, At: since.AddDate(0, 0, -1), Key: "lakeshore/docusign/main/9", Value: value(`{"envelopeId":"E9"}`)})
		},
		"a copy of an event": func(h *history) {
			h.log = append(h.log, judge.Entry{Topic: "deals.v1", Offset: 3, Key: red, ID: redID})
			h.ends["deals.v1/0"] = 4
			h.byHand = func(ctx context.Context) {
				h.exec(ctx, `UPDATE followupboss.consumer_offsets SET next_offset = 4; UPDATE timeline.consumer_offsets SET next_offset = 4;
					UPDATE warehouse.consumer_offsets SET next_offset = 4`)
			}
		},
		"an event that a person dropped": sql(`DELETE FROM warehouse.ledger WHERE pos = 2; INSERT INTO warehouse.queued_record
			(topic, part, pos, key_id, headers, at, cause, state) VALUES ('deals.v1', 0, 2, 'k2', '{}', now(), 'dropped', 3)`),
		"rows that retention dropped": sql(`DELETE FROM warehouse.ledger; INSERT INTO warehouse.ledger_gap VALUES ('redrock', '2026-11-01')`),
		"a deal that a person entered": func(h *history) {
			h.crm["deals"]["redrock"] = append(h.crm["deals"]["redrock"], obj{"id": 9, "stageName": "Offer"})
		},
		"a refusal for its quota that a fault made": func(h *history) {
			h.bench.Quota = true
			h.asked["followupboss"] = []obj{{"n": 2, "account": "redrock/main", "path": "/v1/notes", "status": 429, "fault": "retry-after:1"}}
		},
		"a refusal for its quota where stages were frozen": func(h *history) {
			h.asked["followupboss"] = []obj{{"n": 2, "account": "redrock/main", "path": "/v1/notes", "status": 429}}
		},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // one database
			h := clean(t, pool)
			make(h)
			v := h.judged(t.Context())
			require.True(t, v.Clean(), "%+v", v.Findings())
		})
	}
}
