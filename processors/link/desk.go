package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
)

// What a person is told whose word cannot be obeyed.
var (
	ErrUnknown     = errors.New("no such record was read")
	ErrNoDeal      = errors.New("no such deal is there")
	ErrOtherTenant = errors.New("the deal is another tenant's")
	ErrNotLinked   = errors.New("the record is linked to no deal")
	ErrChanged     = errors.New("somebody else decided about it at the same time")
)

// Nudger makes translate look at a record again that waits in no queue. It may be asked twice.
type Nudger interface {
	Nudge(ctx context.Context, r event.Resource) error
}

// Desk is what people see of links and decide about them. It writes decisions, and asks: translate
// alone acts upon them (protocol.md 38, 39). It calls no vendor. It is safe for concurrent use.
type Desk struct {
	linker *Linker
	nudge  Nudger
}

// NewDesk returns the desk over the tables in schema. nudge may be nil for one that only reads.
func NewDesk(pool *pgxpool.Pool, schema string, nudge Nudger) *Desk {
	return &Desk{New(pool, schema), nudge}
}

// reasonMoved is why a link ends that makes way for another.
const reasonMoved = "set to another deal"

// reasonMax bounds what people write, in bytes.
const reasonMax = 500

// Set ties a record to a deal of its tenant, whatever the ladder says, and returns the decision. Where
// it was tied to another, that is undone first. Twice is once; where the first time was not told
// for want of Kafka, the second tells it. On an error that comes with a decision, the decision stands.
func (d *Desk) Set(ctx context.Context, resource, deal, actor, reason string) (Decision, error) {
	return d.decide(ctx, resource, deal, actor, reason)
}

// Undo unties a record. The ladder never decides about it again.
func (d *Desk) Undo(ctx context.Context, resource, actor, reason string) (Decision, error) {
	return d.decide(ctx, resource, "", actor, reason)
}

// stand is how a record stands while a person decides.
type stand struct {
	seq, acted            int64
	deal                  string
	waits, read, dealIsIn bool
}

func (d *Desk) decide(ctx context.Context, resource, deal, actor, reason string) (Decision, error) {
	r, err := sameTenant(resource, deal)
	if err != nil {
		return Decision{}, err
	}
	var s stand
	var last Decision
	var woken int64
	err = postgres.Tx(ctx, d.linker.pool, func(tx pgx.Tx) error {
		// Shared, as a deal's claims: a record that begins to wait finds this decision, or is woken by it.
		if _, err := tx.Exec(ctx, postgres.In(d.linker.schema, sqlShare), []string{r.Tenant}); err != nil {
			return err
		}
		var err error
		if s, err = d.stand(ctx, tx, resource, deal); err != nil {
			return err
		}
		rows, err := d.decisions(ctx, tx, s, r, deal, actor, reason)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			if n, err := d.linker.decide(ctx, tx, rows); err != nil || n != int64(len(rows)) {
				return errors.Join(err, ErrChanged)
			}
			s.seq = rows[len(rows)-1].Seq
		}
		if last, err = d.at(ctx, tx, resource, s.seq); err != nil {
			return err
		}
		woken, err = ledger.WakeIn(ctx, tx, d.linker.schema, Scope(resource))
		return err
	})
	if err != nil {
		return Decision{}, fmt.Errorf("deciding about %s: %w", resource, err)
	}
	if woken > 0 || !s.read || s.acted >= s.seq || d.nudge == nil {
		return last, nil
	}
	if err := d.nudge.Nudge(ctx, r); err != nil {
		return last, fmt.Errorf("telling what was decided about %s: %w", resource, err)
	}
	return last, nil
}

func sameTenant(resource, deal string) (event.Resource, error) {
	r, err := event.ParseKey(resource)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if deal == "" {
		return r, nil
	}
	of, err := event.ParseKey(deal)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrNoDeal, err)
	}
	if of.Tenant != r.Tenant {
		return r, fmt.Errorf("%w: %s", ErrOtherTenant, deal)
	}
	return r, nil
}

func (d *Desk) stand(ctx context.Context, tx pgx.Tx, resource, deal string) (s stand, err error) {
	err = tx.QueryRow(ctx, postgres.In(d.linker.schema, sqlStand), resource, deal).
		Scan(&s.seq, &s.deal, &s.acted, &s.waits, &s.read, &s.dealIsIn)
	switch {
	case err != nil:
		return s, err
	case !s.waits && !s.read:
		return s, fmt.Errorf("%w: %s", ErrUnknown, resource)
	case deal != "" && !s.dealIsIn:
		return s, fmt.Errorf("%w: %s", ErrNoDeal, deal)
	case deal == "" && s.deal == "":
		return s, ErrNotLinked
	}
	return s, nil
}

// decisions are what brings a record from where it stands to a deal, or to none. Each is one number and
// one event, so that readers need nothing but the highest.
func (d *Desk) decisions(
	ctx context.Context, tx pgx.Tx, s stand, r event.Resource, deal, actor, reason string,
) ([]written, error) {
	if s.deal == deal {
		return nil, nil
	}
	one := Decision{Resource: r.Key(), Seq: s.seq + 1, Rung: event.LinkRungPerson, Actor: &actor, Reason: clean(reason)}
	if deal == "" {
		return []written{{one, r.Tenant}}, nil
	}
	var rows []written
	if s.deal != "" {
		undo := one
		undo.Reason = reasonMoved
		rows = append(rows, written{undo, r.Tenant})
		one.Seq++
	}
	waiting, err := d.waiting(ctx, tx, "", r.Key(), 1)
	if err != nil {
		return nil, err
	}
	one.Deal = deal
	for _, w := range waiting {
		one.Evidence = text(shared(w.claims, w.found.Deals[deal]))
	}
	return append(rows, written{one, r.Tenant}), nil
}

// clean is s, bounded and without what no text column takes.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), reasonMax)], "\x00", ""), "")
}

func (d *Desk) at(ctx context.Context, q querier, resource string, seq int64) (Decision, error) {
	all, err := d.list(ctx, q, sqlHistory, resource)
	for _, one := range all {
		if one.Seq == seq {
			return one, nil
		}
	}
	return Decision{}, err
}

// History returns all decisions about a record, in order.
func (d *Desk) History(ctx context.Context, resource string) ([]Decision, error) {
	return d.list(ctx, d.linker.pool, sqlHistory, resource)
}

// OfDeal returns the decisions in force that tie a record to a deal, in the order in which they were made.
func (d *Desk) OfDeal(ctx context.Context, deal string) ([]Decision, error) {
	return d.list(ctx, d.linker.pool, sqlOfDeal, deal)
}

func (d *Desk) list(ctx context.Context, q querier, sql, key string) ([]Decision, error) {
	rows, err := q.Query(ctx, postgres.In(d.linker.schema, sql), key)
	if err != nil {
		return nil, fmt.Errorf("reading the links of %s: %w", key, postgres.Classify(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (one Decision, err error) {
		var evidence string
		err = row.Scan(&one.Resource, &one.Seq, &one.Deal, &one.Rung, &evidence, &one.Actor, &one.Reason, &one.At)
		one.Evidence, one.At = append([]string{}, strings.Fields(evidence)...), one.At.UTC()
		return one, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the links of %s: %w", key, postgres.Classify(err))
	}
	return all, nil
}

// Unlinked is a record that somebody signed, and that has no deal.
type Unlinked struct {
	Resource string       `json:"resource"`
	Tenant   string       `json:"tenant"`
	Undone   bool         `json:"undone"` // a person undid its link; else no deal was found yet
	Since    time.Time    `json:"since"`
	Claims   []string     `json:"claims"` // what it claims, by kind alone
	Deals    []Suggestion `json:"deals"`  // the likeliest first

	claims []Claim
	found  Found
}

// Suggestion is a deal to which a record may belong.
type Suggestion struct {
	Deal        string   `json:"deal"`
	Matches     []string `json:"matches"`     // the kinds of the claims that both make
	Contradicts bool     `json:"contradicts"` // a number or the address is another
}
