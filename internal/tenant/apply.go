package tenant

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// Apply makes the tenants as they are wanted, all of them in one transaction or none, and returns
// what it changed; where nothing differs it writes nothing. Tenants that are not in wanted stay as
// they are; accounts and adapters that are not in their tenant's file are removed. A changed
// credential clears its account's health. by is who asked, for the history. What the files cannot
// know is wrong (an external id of another tenant, effects_from moving back) is returned as
// Problems. This process sees the change at once, the others within RefreshAfter.
func (s *Store) Apply(ctx context.Context, wanted []Wanted, by string) (Result, error) {
	if s.sealer == nil {
		return Result{}, errors.New("applying tenants: the sealing key is needed")
	}
	var result Result
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlApplyLock, s.schema); err != nil {
			return err
		}
		k, err := s.load(ctx, tx, &pgx.Batch{})
		if err != nil {
			return err
		}
		p, err := plan(time.Now(), k, wanted, by)
		if err != nil {
			return err
		}
		result = p.result
		return s.write(ctx, tx, p.steps)
	})
	if err != nil {
		if problems, ok := errors.AsType[Problems](err); ok {
			return Result{}, problems
		}
		return Result{}, fmt.Errorf("applying tenants: %w", postgres.Classify(err))
	}
	s.see(ctx)
	return result, nil
}

// Diff says what Apply would change, and changes nothing.
func (s *Store) Diff(ctx context.Context, wanted []Wanted) (Result, error) {
	if s.sealer == nil {
		return Result{}, errors.New("comparing tenants: the sealing key is needed")
	}
	k, err := s.load(ctx, s.pool, postgres.Timeouts())
	if err != nil {
		return Result{}, err
	}
	p, err := plan(time.Now(), k, wanted, "")
	if err != nil {
		return Result{}, err
	}
	return p.result, nil
}

func plan(now time.Time, k *known, wanted []Wanted, by string) (*planner, error) {
	p := &planner{now: now, known: k, by: by, result: Result{Changes: []Change{}, Wake: []verdict.Scope{}}}
	wanted = slices.SortedFunc(slices.Values(wanted), func(a, b Wanted) int {
		return strings.Compare(a.ID+"\x00"+a.System, b.ID+"\x00"+b.System)
	})
	p.externalIDs(wanted)
	for _, w := range wanted {
		p.tenant(w)
	}
	return p, p.problems.OrNil()
}

func (s *Store) write(ctx context.Context, tx pgx.Tx, steps []step) error {
	if len(steps) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	for _, st := range steps {
		if i := slices.Index(st.args, nil); i >= 0 {
			sealed, err := s.seal(st)
			if err != nil {
				return err
			}
			st.args[i] = sealed
		}
		b.Queue(postgres.In(s.schema, st.sql), st.args...)
	}
	b.Queue(postgres.In(s.schema, sqlChanged))
	return tx.SendBatch(ctx, b).Close()
}

// seal fills the place that a plan leaves for a secret. A tenant that is there keeps its key: what
// is written for it here is not taken.
func (s *Store) seal(st step) ([]byte, error) {
	if st.secret == nil {
		return []byte{}, nil
	}
	sealed, err := s.sealer.Encrypt(st.secret, st.of)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", st.of, err)
	}
	return sealed, nil
}

func newPseudonymKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func fields(credential map[string]string) []byte {
	out, err := json.Marshal(credential)
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	return out
}

// config is the tenant's file as it was understood, without secrets, for the history.
func (w Wanted) config() json.RawMessage {
	type account struct {
		Vendor     string          `json:"vendor"`
		Name       string          `json:"name"`
		ExternalID string          `json:"external_id"`
		BaseURL    string          `json:"base_url"`
		Credential string          `json:"credential"`
		Keys       []string        `json:"webhook_keys,omitempty"`
		Settings   json.RawMessage `json:"settings"`
	}
	type adapter struct {
		Account     string          `json:"account,omitempty"`
		EffectsFrom *time.Time      `json:"effects_from,omitempty"`
		Paused      bool            `json:"paused"`
		Settings    json.RawMessage `json:"settings"`
	}
	doc := struct {
		Name     string             `json:"name"`
		TimeZone string             `json:"time_zone"`
		Accounts []account          `json:"accounts"`
		Adapters map[string]adapter `json:"adapters"`
	}{Name: w.Name, TimeZone: w.TimeZone, Adapters: map[string]adapter{}}
	for _, a := range w.Accounts {
		out := account{
			Vendor: a.Vendor, Name: a.Name, ExternalID: a.ExternalID, BaseURL: a.BaseURL,
			Credential: a.Source, Settings: canonical(a.Settings),
		}
		for _, k := range a.Keys {
			out.Keys = append(out.Keys, k.ID+" from "+k.Source)
		}
		doc.Accounts = append(doc.Accounts, out)
	}
	for name, a := range maps.All(w.Adapters) {
		out := adapter{Account: a.Account, Paused: a.Paused, Settings: canonical(a.Settings)}
		if !a.EffectsFrom.IsZero() {
			out.EffectsFrom = &a.EffectsFrom
		}
		doc.Adapters[name] = out
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err) // its raw parts are canonical
	}
	return raw
}
