package skyslope

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// overlap is how far behind the newest change that was seen a poll begins again: for changes
	// that were committed late, and for servers of one vendor whose clocks differ.
	overlap = 5 * time.Minute
	// settled is how old a window's end must be for the window to count as read whole: beyond any
	// difference between our clock and times that the vendor writes without a zone.
	settled = 48 * time.Hour
	// windowFirst is the first window of an account's history; it doubles while lists are short, so
	// that empty years cost few calls, and halves where one is too large.
	windowFirst = 24 * time.Hour
	windowLeast = time.Minute
	windowMost  = 2 * 365 * 24 * time.Hour
	// windowSeam is by how much windows overlap, since the vendor may exclude both ends of one.
	windowSeam = time.Second
	// listShort is below which a window doubles.
	listShort = 100
	// digestKept is how much of a digest tells a sale's states apart, in hex digits: 64 bits.
	digestKept = 16
	// causeTooLarge is vendorhttp's word for an answer over its limit.
	causeTooLarge = "vendor answer too large"
)

// earliest is before the first file of any brokerage: SkySlope was founded in 2011.
func earliest() time.Time { return time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC) }

// cursor is where a poller stands, on the vendor's clock.
type cursor struct {
	// After is the newest change seen, or the end of the last window that was read whole.
	After string `json:"after"`
	// Seen are the sales within the overlap, by id, with the beginning of their digest: what the
	// next poll lists again is no change.
	Seen map[string]string `json:"seen,omitempty"`
}

// Poll yields the sales that were modified since the cursor, oldest first within each window of time,
// each as a fact. A nil cursor is the beginning of the account, or the day in its setting
// history_from. Where a window fails after others went well, the poll ends without error where it
// stands: what was read of a long history is kept, and the next poll begins there and reports what is
// still wrong.
func (s *Source) Poll(
	ctx context.Context, a tenant.Account, since producers.Cursor, yield func(producers.Change) error,
) (producers.Cursor, error) {
	p, err := s.begin(a, since, yield)
	if err != nil {
		return nil, err
	}
	whole := 0
	for !p.done {
		read, err := p.window(ctx)
		if p.refused != nil {
			return nil, p.refused
		}
		if err != nil && whole == 0 {
			return nil, err
		}
		if err != nil {
			break
		}
		if read {
			whole++
		}
	}
	return p.cursor()
}

// poll is one poll of an account.
type poll struct {
	source  *Source
	account tenant.Account
	yield   func(producers.Change) error
	refused error // what yield said

	from, after time.Time
	width       time.Duration
	seen        map[string]string   // of the poll before
	next        map[string]seenSale // of this one
	users       map[string]json.RawMessage
	done        bool
}

type seenSale struct {
	modified time.Time
	digest   string
}

func (s *Source) begin(a tenant.Account, since producers.Cursor, yield func(producers.Change) error) (*poll, error) {
	p := &poll{source: s, account: a, yield: yield, width: windowFirst, next: map[string]seenSale{}}
	if since == nil {
		from, err := historyFrom(a)
		p.from, p.after = from, from
		return p, err
	}
	var c cursor
	if err := json.Unmarshal(since, &c); err != nil {
		return nil, fmt.Errorf("reading the cursor of %s: %w", a.Key(), err)
	}
	after, err := time.Parse(boundLayout, c.After)
	if err != nil {
		return nil, fmt.Errorf("reading the cursor of %s: %w", a.Key(), err)
	}
	p.from, p.after, p.seen = after.Add(-overlap), after, c.Seen
	return p, nil
}

// historyFrom is where an account's history begins.
func historyFrom(a tenant.Account) (time.Time, error) {
	var settings struct {
		HistoryFrom string `json:"history_from"`
	}
	if len(a.Settings) > 0 {
		if err := json.Unmarshal(a.Settings, &settings); err != nil {
			return time.Time{}, fmt.Errorf("reading the settings of %s: %w", a.Key(), err)
		}
	}
	if settings.HistoryFrom == "" {
		return earliest(), nil
	}
	at, err := time.Parse(time.DateOnly, settings.HistoryFrom)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the setting history_from of %s: %w", a.Key(), err)
	}
	return at, nil
}

// window lists one window and yields what is new in it, or, where it is too large, makes the next one
// smaller and reads nothing. The last window has no end, and is never smaller.
func (p *poll) window(ctx context.Context) (read bool, err error) {
	readAt := now()
	to, last := p.until(readAt.Add(-settled))
	items, err := p.source.client.sales(ctx, p.account, p.from, to)
	if v := verdict.Of(err); v != nil && v.Cause == causeTooLarge && !last && p.width > windowLeast {
		p.width /= 2
		return false, nil
	}
	if err != nil && len(items) == 0 {
		return false, err
	}
	slices.SortFunc(items, func(x, y saleItem) int {
		if d := x.modified.Compare(y.modified); d != 0 {
			return d
		}
		return strings.Compare(x.guid, y.guid)
	})
	for _, item := range items {
		if err := p.change(ctx, item, readAt); err != nil {
			return false, err
		}
	}
	if err != nil {
		return false, err // a sale without name or time: the others went on, the cursor does not
	}
	if p.done = last; !last {
		p.from, p.after = to.Add(-windowSeam), producers.Later(p.after, to)
		maps.DeleteFunc(p.next, func(_ string, s seenSale) bool { return s.modified.Before(p.from.Add(-overlap)) })
	}
	if len(items) < listShort {
		p.width = min(2*p.width, windowMost)
	}
	return true, nil
}

// until is where the window ends. The last one has no end, and begins where what is settled is
// nearly used up.
func (p *poll) until(settled time.Time) (to time.Time, last bool) {
	if p.from.Add(windowFirst).After(settled) {
		return time.Time{}, true
	}
	to = p.from.Add(p.width)
	if to.After(settled) {
		to = settled
	}
	return to, false
}

// change yields a sale that is not known to be as it was. Users are read for the first such sale.
func (p *poll) change(ctx context.Context, item saleItem, readAt time.Time) error {
	digest := producers.Digest([]event.Part{{Body: item.raw}})[:digestKept]
	if p.seen[item.guid] != digest && p.next[item.guid].digest != digest {
		if err := p.fact(ctx, item, readAt); err != nil {
			return err
		}
	}
	p.next[item.guid] = seenSale{item.modified, digest}
	// A time in the future would hide all changes until then.
	if !item.modified.After(now()) {
		p.after = producers.Later(p.after, item.modified)
	}
	return nil
}

func (p *poll) fact(ctx context.Context, item saleItem, readAt time.Time) error {
	if p.users == nil {
		users, err := p.source.client.users(ctx, p.account)
		if err != nil {
			return err
		}
		p.users = users
	}
	r := event.Resource{
		Tenant: p.account.Tenant, Vendor: Name, Account: p.account.Name, Kind: KindSale, ID: item.guid,
	}
	fact := snapshot(r, readAt, item, p.users)
	p.refused = p.yield(producers.Change{Resource: r, Version: fact.Version, Fact: &fact})
	return p.refused
}

func (p *poll) cursor() (producers.Cursor, error) {
	c := cursor{After: p.after.Format(boundLayout), Seen: map[string]string{}}
	for guid, s := range p.next {
		if s.modified.After(p.after.Add(-overlap)) {
			c.Seen[guid] = s.digest
		}
	}
	return producers.CursorOf(p.account, c)
}
