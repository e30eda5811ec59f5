package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"conveyance/internal/postgres"
)

// recorders are the groups that record every event which they are past: projections.
func recorders() []string { return []string{"timeline", "warehouse"} }

// book is what a group recorded of the log.
type book struct {
	group string
	every bool             // it records every event
	next  map[string]int64 // stored offsets by place
	rows  map[uuid.UUID]bool
	seen  map[uuid.UUID]bool
	queue map[string]int16 // state by place and offset
	gap   bool             // rows were dropped: what is missing says nothing

	done map[string][2]time.Time // first and last effect that was applied, by place and offset
	last map[string]time.Time    // effect of a key, by place and key
}

// The states of a queued record.
const (
	queueOpen    = 1
	queueDropped = 3
)

func (b Bench) books(ctx context.Context) ([]*book, error) {
	var all []*book
	for _, group := range slices.Sorted(maps.Keys(b.Groups)) {
		k := &book{
			group: group, every: slices.Contains(recorders(), group),
			next: map[string]int64{}, rows: map[uuid.UUID]bool{}, seen: map[uuid.UUID]bool{}, queue: map[string]int16{},
			done: map[string][2]time.Time{}, last: map[string]time.Time{},
		}
		in := func(sql string) string { return postgres.In(b.Groups[group], sql) }
		for _, look := range []struct {
			sql  string
			take func([]any)
		}{
			{sqlOffsets, func(c []any) { k.next[fmt.Sprintf("%v/%v", c[0], c[1])] = c[2].(int64) }},
			{sqlRecorded, func(c []any) {
				if c[3].(int64) < b.Ends[fmt.Sprintf("%v/%v", c[1], c[2])] { // what came meanwhile is not in the log that is read
					k.rows[uuid.UUID(c[0].([16]byte))] = true
				}
			}},
			{sqlQueued, func(c []any) { k.queue[fmt.Sprintf("%v/%v/%v", c[0], c[1], c[2])] = c[3].(int16) }},
			{sqlDone, func(c []any) {
				k.done[fmt.Sprintf("%v/%v/%v", c[0], c[1], c[2])] = [2]time.Time{c[3].(time.Time), c[4].(time.Time)}
			}},
			{sqlGap, func([]any) { k.gap = true }},
		} {
			if err := b.each(ctx, in(look.sql), look.take); err != nil {
				return nil, fmt.Errorf("reading the books of %s: %w", group, err)
			}
		}
		all = append(all, k)
	}
	return all, nil
}

// follow says where a record of the log has come to in a group: applied, a copy, waiting or dropped.
// Whatever the group is past and none of these was skipped over.
func (k *book) follow(v *Verdict, e Entry) {
	next, reads := k.next[e.place()]
	id, err := uuid.Parse(e.ID)
	if !reads || err != nil {
		return // no event, or none of this group's
	}
	copied := k.seen[id]
	k.seen[id] = true
	k.order(v, e)
	if !k.every || k.gap {
		return
	}
	if e.Offset >= next {
		v.InFlight++
		return
	}
	v.Received++
	state := k.queue[fmt.Sprintf("%s/%d", e.place(), e.Offset)]
	switch {
	case state == queueOpen:
		v.Waiting++
	case state == queueDropped:
		v.Dropped++
	case !k.rows[id]:
		v.Lost = append(v.Lost, fmt.Sprintf("%s is past %s at %d and has not recorded event %s", k.group, e.place(), e.Offset, id))
	case copied:
		v.Copies++
	default:
		v.Applied++
	}
}

// order holds the effects of a key to the order of its records: by the log's key, whatever the ledger
// says of keys. Projections write many rows at one time, and have their guard.
func (k *book) order(v *Verdict, e Entry) {
	done, applied := k.done[fmt.Sprintf("%s/%d", e.place(), e.Offset)]
	if k.every || !applied {
		return
	}
	at := e.place() + " " + e.Key
	if done[0].Before(k.last[at]) {
		v.Misordered = append(v.Misordered, fmt.Sprintf("%s: effect before its predecessor: %s at %d", k.group, e.place(), e.Offset))
	}
	if done[1].After(k.last[at]) {
		k.last[at] = done[1]
	}
}

// close names effects of events that the log does not hold.
func (k *book) close(v *Verdict) {
	for id := range k.rows {
		if !k.seen[id] {
			v.Phantom = append(v.Phantom, fmt.Sprintf("%s has an effect of event %s, which the log does not hold", k.group, id))
		}
	}
}
