package crashpoints

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
)

// tale is the small story of a round: a deal that is sold, its papers signed, and, where a run needs
// it, a second deal of which nobody can read something.
type tale struct {
	l      *Lane
	urged  []Run
	parks  bool
	tenant string
	step   int
}

func (l *Lane) tale(runs []Run) *tale {
	t := &tale{l: l, tenant: []string{"lakeshore", "redrock"}[l.rand.IntN(2)]}
	l.deals++
	for _, r := range runs {
		if r.urge != work {
			t.urged = append(t.urged, r)
		}
		t.parks = t.parks || strings.HasPrefix(r.Point, "park.") || strings.HasPrefix(r.Point, "release.")
	}
	t.parks = t.parks || l.rand.IntN(4) == 0
	return t
}

// next tells a bit more: first a new deal, then changes of it; each time a paper goes out, and the one
// before it is signed.
func (t *tale) next(ctx context.Context) error {
	t.step++
	if err := t.sale(ctx, t.guid(0), t.change(0)); err != nil {
		return err
	}
	if t.parks {
		if err := t.unreadable(ctx); err != nil {
			return err
		}
	}
	if err := t.papers(ctx, t.step); err != nil {
		return err
	}
	for _, r := range t.urged {
		if _, there := t.l.reached(r); !there {
			if err := t.urge(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// end changes the deals once more, after all faults: what does not work any more would miss it.
func (t *tale) end(ctx context.Context) error {
	const closed = `{"status":"Closed","salePrice":500000,"actualClosingDate":"2026-11-02T00:00:00"}`
	if err := t.sale(ctx, t.guid(0), closed); err != nil {
		return err
	}
	if t.parks {
		if err := t.sale(ctx, t.guid(1), closed); err != nil {
			return err
		}
	}
	return t.paper(ctx, t.step, true)
}

func (t *tale) change(deal int) string {
	if t.step > 1 {
		return fmt.Sprintf(`{"status":"Pending","salePrice":%d}`, 400_000+1000*t.step)
	}
	return fmt.Sprintf(`{"status":"Pre-Contract","dealType":"Purchase","salePrice":400000,"listingPrice":400000,
		"property":{"streetNumber":"%d","streetAddress":"Crash Lane","city":"Springfield","state":"IL","zip":"62701"},
		"buyers":[{"firstName":"Robin","lastName":"Buyer","email":"%s"}]}`, 2*t.l.deals+deal, t.email(deal))
}

func (t *tale) guid(deal int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%011d%d", t.l.deals, deal)
}

func (t *tale) email(deal int) string {
	return fmt.Sprintf("buyer.%s.%d.%d@example.com", t.tenant, t.l.deals, deal)
}

func (t *tale) sale(ctx context.Context, guid, patch string) error {
	return t.l.Bus.Control(ctx, http.MethodPut, "/skyslope/sales/"+guid+"?tenant="+t.tenant, patch, nil)
}

func (t *tale) papers(ctx context.Context, step int) error {
	if step > 1 {
		if err := t.paper(ctx, step-1, true); err != nil {
			return err
		}
	}
	return t.paper(ctx, step, false)
}

// paper is an envelope of one document for the buyer to sign.
func (t *tale) paper(ctx context.Context, n int, signed bool) error {
	status := map[bool]string{true: "completed", false: "sent"}[signed]
	body, err := json.Marshal(map[string]any{
		"status": status,
		"recipients": map[string]any{"signers": []any{
			map[string]any{"recipientId": "1", "name": "Robin Buyer", "email": t.email(0), "status": status},
		}},
		"customFields": map[string]any{"textCustomFields": []any{map[string]any{"name": "Deal ID", "value": t.guid(0)}}},
		"envelopeDocuments": []any{
			map[string]any{"documentId": "1", "name": fmt.Sprintf("Agreement %d.pdf", n), "type": "content"},
		},
	})
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%06x%02x-0000-4000-8000-000000000000", t.l.deals, n) // a note shows the first eight
	return t.l.Bus.Control(ctx, http.MethodPut, "/docusign/envelopes/"+id+"?tenant="+t.tenant, string(body), nil)
}

// unreadable is a second deal with a price that translate cannot understand, and an event of it that no
// adapter can. What that deal does next waits behind them until somebody drops them.
func (t *tale) unreadable(ctx context.Context) error {
	if err := t.sale(ctx, t.guid(1), t.change(1)); err != nil {
		return err
	}
	if err := t.sale(ctx, t.guid(1), fmt.Sprintf(`{"salePrice":"a lot, %d times"}`, t.step)); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(t.l.Bus.Info.Kafka, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	key := t.tenant + "/skyslope/main/sale/" + t.guid(1)
	r := &kgo.Record{Topic: t.l.Bus.Info.TopicPrefix + "deals.v1", Key: []byte(key), Value: []byte{1, 0, 0, 0, 1, 2, 3}}
	return cl.ProduceSync(ctx, r).FirstErr()
}

// urge makes a process start anew, or takes a partition's token from it as a late zombie would.
func (t *tale) urge(ctx context.Context, r Run) error {
	if r.urge == restart {
		t.l.Bus.Signal(strings.Replace(r.Process, "-", " ", 1), syscall.SIGTERM)
		return nil
	}
	schema := groupOf(r.Process)
	var at ledger.Place
	err := t.l.Bus.Pool.QueryRow(ctx, postgres.In(schema, sqlPlace), t.l.rand.IntN(1<<20)).Scan(&at.Topic, &at.Part)
	if err != nil {
		return fmt.Errorf("finding a partition of %s: %w", schema, err)
	}
	store := ledger.Open(t.l.Bus.Pool, schema)
	timeline, err := store.Timeline(ctx)
	if err != nil {
		return err
	}
	_, err = store.Claim(ctx, []ledger.Place{at}, timeline)
	return err
}

func groupOf(process string) string { return process[strings.LastIndexByte(process, '-')+1:] }

// mend is the person at night: drops what nobody can read, releases what gave up, and looks in the CRM
// where an outcome is unknown. What does not work now is tried at the next look.
func (l *Lane) mend(ctx context.Context) {
	for _, group := range chaosGroups() {
		q := ledger.NewQueue(l.Bus.Pool, group)
		held, err := q.List(ctx, ledger.Filter{})
		if err != nil {
			continue
		}
		for _, h := range held {
			switch {
			case h.ReleaseWanted, h.Cause == "no deal yet", strings.HasPrefix(h.Cause, "outcome unknown"):
			case h.Cause == "undecodable", strings.HasPrefix(h.Cause, "contract broken"):
				_ = q.Drop(ctx, h.Topic, h.Key, "lane", "nobody can read it")
			default:
				_, _ = q.Release(ctx, ledger.Filter{Topic: h.Topic, Key: h.Key}, "lane", "the fault is over")
			}
		}
	}
	var unknown int
	if err := l.Bus.Pool.QueryRow(ctx, sqlUnknown).Scan(&unknown); err == nil && unknown > 0 {
		if _, err := l.Bus.Operate(ctx); err != nil {
			l.Log("%v", err)
		}
	}
}

// chaosGroups may hold something back; the intake of fetch holds nothing here.
func chaosGroups() []string {
	return slices.Clone([]string{"translate", "followupboss", "warehouse", "timeline"})
}

// epochs counts the claims of a group's partitions.
func (l *Lane) epochs(ctx context.Context, group string) (n int64, err error) {
	if err := l.Bus.Pool.QueryRow(ctx, postgres.In(group, sqlEpochs)).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the claims of %s: %w", group, err)
	}
	return n, nil
}

// expire ends the leases of reads and polls.
func (l *Lane) expire(ctx context.Context) {
	for _, sql := range []string{sqlExpireReads, sqlExpirePolls} {
		if _, err := l.Bus.Pool.Exec(ctx, sql); err != nil {
			l.Log("ending leases: %v", err)
		}
	}
}
