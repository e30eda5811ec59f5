package docusign

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorjson"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// overlap is how far behind the newest change that was seen a walk begins again: for changes that
	// DocuSign's list shows late, and for servers of it whose clocks differ.
	overlap = 10 * time.Minute
	// windowMost is the largest part of an account's history that is listed at once: a busy brokerage
	// sends some hundred envelopes a week.
	windowMost = 7 * 24 * time.Hour
	// historyDefault is how far back the first walk begins: what was sent before belongs to deals that
	// are closed. The setting history_from reaches further.
	historyDefault = 365 * 24 * time.Hour
	// passesMax is how often a list is read again that changed while its pages were read.
	passesMax = 3
	// digestKept is how much of a digest tells an envelope's states apart, in hex digits: 64 bits.
	digestKept = 16
)

// cursor is where the walks stand, on the vendor's clock.
type cursor struct {
	// After is the newest change of a status that was seen, or the end of the last window.
	After time.Time `json:"after"`
	// Seen are the envelopes within the overlap, by id, with the beginning of their state: what the next
	// walk lists again is no change.
	Seen map[string]string `json:"seen,omitempty"`
}

// Poll yields the envelopes whose status changed since the cursor, oldest first within each window of
// time, each as a fact where the list holds it whole. A nil cursor is the day in the account's setting
// history_from, a year ago by default. Where a window fails after others went well, the walk ends
// without error where it stands. The list goes by the envelope's status: a signature that does not
// complete its envelope is told by webhooks, and at last by the completion.
func (s *Source) Poll(
	ctx context.Context, a tenant.Account, since producers.Cursor, yield func(producers.Change) error,
) (producers.Cursor, error) {
	began := now()
	from, c, err := begin(a, since, began)
	if err != nil {
		return nil, err
	}
	w := walk{source: s, account: a, yield: yield, began: began, cursor: c, next: map[string]item{}}
	for windows := 0; ; windows++ {
		to := from.Add(windowMost)
		last := !to.Before(began)
		if last {
			to = time.Time{}
		}
		err := w.window(ctx, from, to)
		if err != nil && (windows == 0 || w.refused != nil) {
			return nil, err
		}
		if err != nil || last {
			return w.end()
		}
		from = to.Add(-overlap)
		w.cursor.After = producers.Later(w.cursor.After, to)
	}
}

func begin(a tenant.Account, since producers.Cursor, at time.Time) (from time.Time, c cursor, err error) {
	if since != nil {
		if err := json.Unmarshal(since, &c); err != nil {
			return from, c, fmt.Errorf("reading the cursor of %s: %w", a.Key(), err)
		}
		return c.After.Add(-overlap), c, nil
	}
	text := settingsOf(a).HistoryFrom
	if text == "" {
		from = at.Add(-historyDefault)
		return from, cursor{After: from}, nil
	}
	from, err = time.Parse(time.DateOnly, text)
	if err != nil {
		return from, c, fmt.Errorf("reading the setting history_from of %s: %w", a.Key(), err)
	}
	return from, cursor{After: from}, nil
}

// walk is one poll of an account.
type walk struct {
	source  *Source
	account tenant.Account
	yield   func(producers.Change) error
	refused error // what yield said
	began   time.Time
	cursor  cursor
	next    map[string]item
}

// item is an envelope as a list holds it.
type item struct {
	envelope envelope
	body     vendorjson.Value
	readAt   time.Time
}

// state tells an item from the same envelope in another state.
func (i item) state() string { return i.envelope.digest()[:digestKept] }

// window lists one window and yields what is new in it. The last window has no end.
func (w *walk) window(ctx context.Context, from, to time.Time) error {
	items, err := w.list(ctx, from, to)
	if err != nil {
		return err
	}
	for _, i := range items {
		id, known := i.envelope.ID, w.next[i.envelope.ID]
		if w.cursor.Seen[id] != i.state() && (known.envelope.ID == "" || known.state() != i.state()) {
			if err := w.change(i); err != nil {
				return err
			}
		}
		i.body = vendorjson.Value{}
		w.next[id] = i
		// A time in the future would hide all changes until then.
		if !i.envelope.changed.After(w.began) {
			w.cursor.After = producers.Later(w.cursor.After, i.envelope.changed)
		}
	}
	maps.DeleteFunc(w.next, func(_ string, i item) bool { return w.old(i) })
	return nil
}

func (w *walk) old(i item) bool { return i.envelope.changed.Before(w.cursor.After.Add(-overlap)) }

func (w *walk) change(i item) error {
	r := event.Resource{
		Tenant: w.account.Tenant, Vendor: Name, Account: w.account.Name, Kind: KindEnvelope, ID: i.envelope.ID,
	}
	c := producers.Change{Resource: r, Version: i.envelope.version}
	if i.envelope.whole && !i.envelope.gone {
		fact := snapshot(r, i.envelope, i.body, i.readAt, now())
		c.Fact = &fact
	}
	w.refused = w.yield(c)
	return w.refused
}

// list reads all pages of a window, oldest change first. What changes while pages are read moves to the
// list's end and pulls another over the edge of a page: a list of which fewer came than it has is read
// again, and what is missed even so comes with the overlap.
func (w *walk) list(ctx context.Context, from, to time.Time) ([]item, error) {
	found := map[string]item{}
	for range passesMax {
		total, err := w.pass(ctx, from, to, found)
		if err != nil {
			return nil, err
		}
		if len(found) >= total {
			break
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b item) int {
		return cmp.Or(cmp.Compare(a.envelope.version, b.envelope.version), strings.Compare(a.envelope.ID, b.envelope.ID))
	}), nil
}

// pass reads a list once into found, and returns how many envelopes it has.
func (w *walk) pass(ctx context.Context, from, to time.Time, found map[string]item) (total int, err error) {
	for start, pages := 0, 0; ; pages++ {
		if pages == pagesMax {
			return 0, verdict.Parked("vendor list has no end",
				fmt.Errorf("listing envelopes of %s: more than %d pages", w.account.Key(), pagesMax))
		}
		readAt := now()
		p, err := w.source.client.list(ctx, w.account, from, to, start)
		if err != nil {
			return 0, err
		}
		for _, v := range p.envelopes {
			i := item{readEnvelope(producers.Record{Value: v}), v, readAt}
			if guid(i.envelope.ID) == "" {
				return 0, broken("/envelopes/envelopeId", "is no id")
			}
			if have, twice := found[i.envelope.ID]; !twice || i.envelope.version >= have.envelope.version {
				found[i.envelope.ID] = i
			}
		}
		if start += len(p.envelopes); len(p.envelopes) == 0 || start >= p.total {
			return p.total, nil
		}
	}
}

// end is the cursor where the walk stands.
func (w *walk) end() (producers.Cursor, error) {
	c := cursor{After: w.cursor.After, Seen: map[string]string{}}
	for id, i := range w.next {
		if !w.old(i) {
			c.Seen[id] = i.state()
		}
	}
	return producers.CursorOf(w.account, c)
}
