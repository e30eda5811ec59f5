package vendors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/consumers/consumerstest"
	"conveyance/internal/chaos/vendors"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/processors/fetch"
)

const (
	look   = time.Second // how often a cell is looked at
	copies = 100         // of a webhook, or of what plays its part
)

// came is what came of a cell.
type came struct {
	ends  []string // how it stands
	after []string // the verdicts on the way
	why   []string // what waits, in words
	calls int      // from the strike on
	over  []string // requests beyond the quota
	err   error
}

// cell is one on its way.
type cell struct {
	vendors.Cell
	trouble
}

// run lets a cell happen. A fault at the first call is armed before the stages run.
func (b *bus) cell(ctx context.Context, c *cell) (out came) {
	var before int64
	n := 1
	if out.err = b.listed(ctx, c); out.err != nil {
		return out
	}
	if c.When != vendors.First {
		if out.err = b.change(ctx, c, n, 1); out.err != nil {
			return out
		}
		if !b.settle(ctx, c, n, &out, false) {
			out.err = errors.New("the first record never went through")
			return out
		}
		all, err := b.requests(c.Cell, 0)
		if err != nil || b.strike(c.Cell, c.trouble) != nil {
			out.err = errors.Join(err, errors.New("the fault could not be armed"))
			return out
		}
		if len(all) > 0 {
			before = all[len(all)-1].N
		}
		n++
	}
	if out.err = b.special(ctx, c, n); out.err != nil {
		return out
	}
	if c.When == vendors.Forever {
		b.suffer(ctx, c, n, before, &out)
	} else {
		b.settle(ctx, c, n, &out, true)
		b.tally(c, before, &out)
	}
	out.after = b.verdicts(c)
	return out
}

// listed waits until the account's list was read for the first time, where webhooks are the way in: it
// would bring what a cell wants to be read by itself.
func (b *bus) listed(ctx context.Context, c *cell) error {
	if c.Vendor != "docusign" {
		return nil
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if polled, err := b.desk.Polled(ctx); err != nil || !polled[id(c.Cell)+"/docusign/"+account].IsZero() {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// special makes the change that the fault is about.
func (b *bus) special(ctx context.Context, c *cell, n int) error {
	switch c.name {
	case "webhook ×100":
		if c.Vendor == "docusign" {
			break
		}
		if err := b.change(ctx, c, n, 1); err != nil {
			return err
		}
		for range copies {
			if err := b.again(ctx, c, n); err != nil {
				return err
			}
		}
		return nil
	case "reordered":
		if c.Vendor == "followupboss" {
			return b.backwards(ctx, c, n)
		}
	case "stale body":
		if c.Vendor == "docusign" { // each of its changes is two
			break
		}
		return errors.Join(b.change(ctx, c, n, 1), b.change(ctx, c, n, 2))
	}
	return b.change(ctx, c, n, 1)
}

// suffer lets changes come while the fault stays, and says how all of it stands in the end.
func (b *bus) suffer(ctx context.Context, c *cell, n int, before int64, out *came) {
	first, end := n, time.After(b.pace.window)
	tick := time.NewTicker(b.pace.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			out.err = ctx.Err()
			return
		case <-tick.C:
			if n++; out.err == nil {
				out.err = b.change(ctx, c, n, 1)
			}
		case <-end:
			b.tally(c, before, out)
			b.await(ctx, c, first, out)
			return
		}
	}
}

// settle waits until the n-th record is applied, and has a person release what parks.
func (b *bus) settle(ctx context.Context, c *cell, n int, out *came, special bool) bool {
	released := false
	tick := time.NewTicker(look)
	defer tick.Stop()
	end := time.After(b.pace.patient)
	for {
		select {
		case <-tick.C:
		case <-end:
			b.stand(ctx, c, n, out)
			return false
		}
		if b.waits(ctx, c, out) == 0 && b.applied(c, n) && (!special || b.struck(c)) {
			out.ends = []string{"applied"}
			if released {
				out.ends = []string{"released"}
			}
			return true
		}
		if special && slices.Contains(out.ends, "parked") {
			if err := b.release(ctx, c); err != nil {
				out.err = err
				return false
			}
			released = true
		}
	}
}

// await lets a loaded machine come to where a cell should stand.
func (b *bus) await(ctx context.Context, c *cell, n int, out *came) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	end := time.After(b.pace.patient)
	for {
		b.stand(ctx, c, n, out)
		strange := slices.ContainsFunc(out.ends, func(e string) bool { return !slices.Contains(c.Ends, e) })
		if len(out.ends) > 0 && !strange && b.struck(c) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// stand says how a cell stands.
func (b *bus) stand(ctx context.Context, c *cell, n int, out *came) {
	switch waits := b.waits(ctx, c, out); {
	case waits == 0 && b.applied(c, n):
		out.ends = []string{"applied"}
	case waits == 0:
		out.ends = []string{"behind"}
	}
}

// waits fills the ends with what waits, and returns how much.
func (b *bus) waits(ctx context.Context, c *cell, out *came) int {
	out.ends, out.why = nil, nil
	add := func(kind, cause string) {
		if !slices.Contains(out.ends, kind) {
			out.ends = append(out.ends, kind)
		}
		out.why = append(out.why, kind+" "+cause)
	}
	rows, err := b.desk.Stuck(ctx, fetch.Filter{Tenant: id(c.Cell)})
	for _, r := range rows {
		switch r.Cause {
		case "vendor's polling rule", "no worker has come to it yet": // they wait for their turn, as they should
		default:
			add(r.Kind, r.Cause)
		}
	}
	keys, err2 := b.queue.List(ctx, ledger.Filter{Tenant: id(c.Cell)})
	for _, k := range keys {
		add(k.Kind.String(), k.Cause)
	}
	if err := errors.Join(err, err2); err != nil { // Postgres has much to do: looked at again
		out.ends, out.why = nil, []string{err.Error()}
	}
	return len(out.why)
}

func (b *bus) release(ctx context.Context, c *cell) error {
	_, err := b.desk.Release(ctx, fetch.Filter{Tenant: id(c.Cell)}, "the matrix")
	keys, err2 := b.queue.List(ctx, ledger.Filter{Tenant: id(c.Cell), Kind: ledger.ParkedKey})
	for _, k := range keys {
		if k.Cause == "outcome unknown" {
			continue
		}
		_, err := b.queue.Release(ctx, ledger.Filter{Topic: k.Topic, Key: k.Key}, "the matrix", "the vendor is well again")
		err2 = errors.Join(err2, err)
	}
	return errors.Join(err, err2)
}

// tally counts what the vendor saw.
func (b *bus) tally(c *cell, before int64, out *came) {
	all, err := b.requests(c.Cell, before)
	out.err = errors.Join(out.err, err)
	out.calls = len(all)
	for _, r := range all {
		if r.Remark != "" {
			out.over = append(out.over, fmt.Sprintf("%s %s %s", r.Remark, r.Method, r.Path))
		}
	}
}

// verdicts are those on the way; that a vendor counts as down is none of a cell's own: most accounts are,
// here, at times.
func (b *bus) verdicts(c *cell) []string {
	return slices.DeleteFunc(b.said.of(id(c.Cell)), func(line string) bool { return strings.HasPrefix(line, "stall vendor ") })
}

// struck says whether the verdict that a cell is about was seen.
func (b *bus) struck(c *cell) bool {
	return !c.Sure || slices.Contains(b.verdicts(c), c.After[0])
}

// change makes or changes the n-th record of a cell, for the i-th time.
func (b *bus) change(ctx context.Context, c *cell, n, i int) error {
	switch c.Vendor {
	case "skyslope":
		return b.control(http.MethodPut, record(c, n), map[string]any{"status": "Pending", "salePrice": 400_000 + i}, nil)
	case "docusign":
		status := "sent"
		signer := map[string]any{"name": "Mira Holt", "email": "mira@example.com", "roleName": "Buyer"}
		put := func() error {
			signer["status"] = status
			return b.control(http.MethodPut, record(c, n), map[string]any{
				"status": status, "recipients": map[string]any{"signers": []any{signer}},
				"envelopeDocuments": []any{map[string]any{"name": "Purchase Agreement.pdf"}},
			}, nil)
		}
		if i == 1 {
			if err := put(); err != nil { // whole in its webhook
				return err
			}
		}
		status = "completed" // its webhook lacks the documents' names
		return put()
	}
	return b.tell(ctx, b.person(c, n, i))
}

// record is the n-th record's path.
func record(c *cell, n int) string {
	kind := map[string]string{"skyslope": "sales", "docusign": "envelopes"}[c.Vendor]
	return fmt.Sprintf("%s/%s/%s?tenant=%s", c.Vendor, kind, resource(c, n).ID, id(c.Cell))
}

func resource(c *cell, n int) event.Resource {
	kind := map[string]string{"skyslope": "sale", "docusign": "envelope"}[c.Vendor]
	return event.Resource{
		Tenant: id(c.Cell), Vendor: c.Vendor, Account: account, Kind: kind,
		ID: uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s %d", id(c.Cell), n)).String(),
	}
}

// again hints at the n-th record once more, or repeats the event about it.
func (b *bus) again(ctx context.Context, c *cell, n int) error {
	if c.Vendor == "followupboss" {
		return b.tell(ctx, b.person(c, n, 1))
	}
	_, err := b.desk.MarkDirty(ctx, []event.Resource{resource(c, n)}, "live", "the matrix")
	return err
}

// person is the event of the n-th person in its i-th state.
func (b *bus) person(c *cell, n, i int) *event.ContactChanged {
	t := b.tenants[id(c.Cell)]
	d := consumerstest.NewDeal(t, fmt.Sprintf("%d00", n))
	var last *event.ContactChanged
	for state := 1; state <= i; state++ {
		d.Participants = d.Participants[:1]
		var phones string
		if state > 1 {
			phones = fmt.Sprintf("+1312555%04d", n)
		}
		first := fmt.Sprintf("Nora%d", n)
		d.Participants[0] = d.Person(event.ParticipantRoleBuyer, true, first, email(n), phones)
		for _, e := range d.Tell() {
			if p, ok := e.(*event.ContactChanged); ok {
				last = p
			}
		}
	}
	return last
}

func email(n int) string { return fmt.Sprintf("nora%d@example.com", n) }

// backwards tells of the second state before the first.
func (b *bus) backwards(ctx context.Context, c *cell, n int) error {
	return errors.Join(b.tell(ctx, b.person(c, n, 2)), b.tell(ctx, b.person(c, n, 1)))
}

func (b *bus) tell(ctx context.Context, e *event.ContactChanged) error {
	return b.publisher.Publish(ctx, stream.Out{Topic: topic.Contacts, Key: []byte(e.Contact.ContactKey), Message: e})
}

// applied says whether the bus holds what the vendor holds of the n-th record; at a destination, whether
// it has the person once, in the last state that was told.
func (b *bus) applied(c *cell, n int) bool {
	if c.Vendor == "followupboss" {
		var all []map[string]any
		if b.control(http.MethodGet, "followupboss/people?tenant="+id(c.Cell), nil, &all) != nil {
			return false
		}
		found, phones := 0, 0
		for _, p := range all {
			text, _ := json.Marshal(p)
			if strings.Contains(string(text), `"`+email(n)+`"`) {
				found++
				phones = strings.Count(string(text), fmt.Sprintf("555%04d", n))
			}
		}
		return found == 1 && (phones > 0 || c.name != "reordered" && c.name != "stale body" || n == 1 && c.When != vendors.First)
	}
	var held map[string]any
	if b.control(http.MethodGet, record(c, n), nil, &held) != nil {
		return false
	}
	snap, _ := b.seen.get(resource(c, n))
	stamp := held[map[string]string{"skyslope": "modifiedOn", "docusign": "lastModifiedDateTime"}[c.Vendor]]
	return len(snap.Parts) > 0 && strings.Contains(string(snap.Parts[0].Body), fmt.Sprint(stamp))
}

// verb turns a log's line into the words of the table; empty where it is no verdict.
func verb(message, cause string) string {
	_, what, _ := strings.Cut(message, ".")
	switch what {
	case "retry", "hold", "park", "stall", "stale", "doubt":
		return strings.TrimSpace(what + " " + cause)
	}
	return ""
}
