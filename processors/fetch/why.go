package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
)

// ErrUnknownResource means that no hint ever named the resource.
var ErrUnknownResource = errors.New("no webhook or poll ever named this resource")

// The states of a record in Why.
const (
	StateClean   = "clean"   // held as it was read, and no hint since
	StateDue     = "due"     // waits for a worker
	StateReading = "reading" // a worker has it
	StateWaiting = "waiting" // for a time
	StateHeld    = "held"    // with its account
	StateParked  = "parked"  // for a person
)

// Why is what a record waits for, since when, and what ends it.
type Why struct {
	Resource string     `json:"resource"`
	State    string     `json:"state"`
	Sentence string     `json:"sentence"`
	Since    *time.Time `json:"since,omitempty"` // dirty since
	HintedBy string     `json:"hinted_by,omitempty"`
	Lane     string     `json:"lane,omitempty"`
	Cause    string     `json:"cause,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	Attempts int        `json:"attempts,omitempty"`
	NextTry  *time.Time `json:"next_try,omitempty"`
	Version  int64      `json:"version,omitempty"` // of what is held
	Gone     bool       `json:"gone,omitempty"`
	ReadAt   *time.Time `json:"read_at,omitempty"` // when what is held was read
}

// Why says what a record waits for, or ErrUnknownResource.
func (d *Desk) Why(ctx context.Context, r event.Resource) (Why, error) {
	now := d.now()
	w := Why{Resource: r.Key()}
	var row struct {
		lane          lane
		leased, held  *time.Time
		asked         int
		digest        string
		cause, detail *string // of the account's hold
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := d.store.pool.QueryRow(ctx, postgres.In(d.store.schema, sqlWhy), w.Resource, now).Scan(
		&w.Since, &w.HintedBy, &row.lane, &w.NextTry, &row.leased, &w.Attempts, &row.asked, &w.Cause, &w.Detail,
		&w.Version, &row.digest, &w.Gone, &w.ReadAt, &row.held, &row.cause, &row.detail)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, fmt.Errorf("%s: %w", w.Resource, ErrUnknownResource)
	}
	if err != nil {
		return w, fmt.Errorf("looking up %s: %w", w.Resource, postgres.Classify(err))
	}
	w.Lane = row.lane.String()
	_, shut, err := lookup(ctx, d.tenants, accountOf(r))
	if err != nil {
		return w, err
	}
	switch {
	case w.Since == nil:
		w.State = StateClean
	case w.NextTry == nil:
		w.State = StateParked
	case shut != "":
		w.State, w.Cause, w.Detail, w.NextTry = StateHeld, shut, "", nil
	case row.leased != nil && row.leased.After(now):
		w.State = StateReading
	case row.held != nil:
		w.State, w.Cause, w.Detail, w.NextTry = StateHeld, *row.cause, *row.detail, row.held
	case w.NextTry.After(now):
		w.State = StateWaiting
	default:
		w.State = StateDue
	}
	for _, at := range []*time.Time{w.Since, w.NextTry, w.ReadAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	w.Sentence = w.sentence()
	return w, nil
}

// sentence is for a person at night.
func (w Why) sentence() string {
	at := func(t *time.Time) string { return t.Format(time.RFC3339) }
	switch w.State {
	case StateClean:
		if w.ReadAt == nil {
			return w.Resource + " waits for nothing; it was named, and never read."
		}
		return fmt.Sprintf("%s waits for nothing: it was last read at %s.", w.Resource, at(w.ReadAt))
	case StateParked:
		return fmt.Sprintf("%s has waited since %s for a person: %s. Mend it, then release it.",
			w.Resource, at(w.Since), w.Cause)
	case StateReading:
		return fmt.Sprintf("%s is being read now; it has been dirty since %s.", w.Resource, at(w.Since))
	case StateHeld:
		if w.NextTry == nil {
			return fmt.Sprintf("%s has waited since %s: %s. It goes on when that is over.", w.Resource, at(w.Since), w.Cause)
		}
		return fmt.Sprintf("%s has waited since %s with its account: %s. It is tried again at %s.",
			w.Resource, at(w.Since), w.Cause, at(w.NextTry))
	case StateWaiting:
		return fmt.Sprintf("%s has waited since %s: %s. It is tried again at %s.",
			w.Resource, at(w.Since), w.Cause, at(w.NextTry))
	}
	return fmt.Sprintf("%s has been due since %s and waits for a worker.", w.Resource, at(w.Since))
}
