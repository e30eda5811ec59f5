package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
)

const (
	// demoPatience is how long a demonstration waits for what must happen: a refused account is
	// tried again after 30 s, an unknown outcome settled after 16 s.
	demoPatience = 2 * time.Minute
	demoLook     = 100 * time.Millisecond
)

// stage is where a demonstration plays: a running up.
type stage struct {
	g    *globals
	up   upFile
	pool *pgxpool.Pool
}

// demoDeal is a deal that a demonstration made.
type demoDeal struct {
	tenant, guid, key, email string
}

// withStage finds the running up, plays, and takes back every fault.
func withStage(ctx context.Context, g *globals, play func(context.Context, *stage) error) (err error) {
	up, err := readUp(g.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no up is running in %s: start conveyance up in another terminal, or give its --dir", g.Dir)
	}
	if err != nil {
		return err
	}
	pool, err := g.open(ctx, "demo")
	if err != nil {
		return err
	}
	defer pool.Close()
	s := &stage{g, up, pool}
	defer func() { err = errors.Join(err, s.clearFaults(context.WithoutCancel(ctx))) }()
	return play(ctx, s)
}

// say prints a step.
func (s *stage) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	_ = s.g.print(map[string]string{"kind": "demo", "line": line}, func(w io.Writer) { _, _ = fmt.Fprintln(w, "  "+line) })
}

// until waits for something to happen.
func (s *stage) until(ctx context.Context, what string, happened func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		ok, err := happened()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: nothing within %s; conveyance status may say why", what, demoPatience)
		case <-time.After(demoLook):
		}
	}
}

func (s *stage) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// newDeal makes a sale at SkySlope, and waits until the CRM has its buyer.
func (s *stage) newDeal(ctx context.Context, tenant string) (demoDeal, error) {
	guid := uuid.NewString()
	r := event.Resource{Tenant: tenant, Vendor: "skyslope", Account: "main", Kind: "sale", ID: guid}
	d := demoDeal{tenant, guid, r.Key(), "demo." + guid[:8] + "@example.com"}
	err := s.put(ctx, d, map[string]any{
		"status": "Pre-Contract", "dealType": "Purchase", "salePrice": 425000, "listingPrice": 430000,
		"property": map[string]any{"streetNumber": "1", "streetAddress": "Demo Street " + guid[:4], "city": "Springfield", "state": "IL", "zip": "62701"},
		"buyers":   []any{map[string]any{"firstName": "Demo", "lastName": "Buyer", "email": d.email}},
	})
	if err != nil {
		return d, err
	}
	s.say("%s: a sale begins in SkySlope, with one buyer", tenant)
	return d, s.until(ctx, "the buyer in the CRM", func() (bool, error) {
		p, err := s.people(ctx, d)
		return len(p) > 0, err
	})
}

func (s *stage) put(ctx context.Context, d demoDeal, patch map[string]any) error {
	return s.control(ctx, http.MethodPut, "/skyslope/sales/"+d.guid+"?tenant="+d.tenant, patch, nil)
}

func (s *stage) fault(ctx context.Context, vendor, account, match, kind string, times int) error {
	f := map[string]any{"account": account, "match": match, "fault": kind}
	if times > 0 {
		f["times"] = times
	}
	return s.control(ctx, http.MethodPost, "/"+vendor+"/faults", f, nil)
}

func (s *stage) clearFaults(ctx context.Context) error {
	return errors.Join(
		s.control(ctx, http.MethodDelete, "/followupboss/faults", nil, nil),
		s.control(ctx, http.MethodDelete, "/skyslope/faults", nil, nil))
}

// control makes one call to the sandbox's control.
func (s *stage) control(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.up.Sandbox+"/_control"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulated vendors: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("asking the simulated vendors for %s: %s: %s", path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// demoPerson is a person as the CRM holds it.
type demoPerson struct {
	ID     json.Number `json:"id"`
	Stage  string      `json:"stage"`
	Emails []struct {
		Value string `json:"value"`
	} `json:"emails"`
}

// people are the CRM's people with the deal's e-mail: one, if all is well.
func (s *stage) people(ctx context.Context, d demoDeal) ([]demoPerson, error) {
	var all, found []demoPerson
	if err := s.control(ctx, http.MethodGet, "/followupboss/people?tenant="+url.QueryEscape(d.tenant), nil, &all); err != nil {
		return nil, err
	}
	for _, p := range all {
		for _, e := range p.Emails {
			if strings.EqualFold(e.Value, d.email) {
				found = append(found, p)
			}
		}
	}
	return found, nil
}

func (s *stage) personStands(ctx context.Context, d demoDeal, at string) (bool, error) {
	p, err := s.people(ctx, d)
	return len(p) > 0 && p[0].Stage == at, err
}

// request is one line of the sandbox's journal.
type request struct {
	N      int64  `json:"n"`
	Method string `json:"method"`
	Path   string `json:"path"`
}

func (s *stage) requests(ctx context.Context, vendor, account string, after int64) (all []request, err error) {
	err = s.control(ctx, http.MethodGet, fmt.Sprintf("/%s/requests?account=%s&after=%d", vendor, account, after), nil, &all)
	return all, err
}

func (s *stage) lastRequest(ctx context.Context, vendor, account string) (int64, error) {
	all, err := s.requests(ctx, vendor, account, 0)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].N, nil
}

// calls counts the CRM's calls to a path since a request.
func (s *stage) calls(ctx context.Context, after int64, method, path string) (n int, err error) {
	all, err := s.requests(ctx, "followupboss", here, after)
	for _, r := range all {
		if r.Method == method && strings.HasSuffix(r.Path, path) {
			n++
		}
	}
	return n, err
}

// settled is true where the ledger knows the outcome of every effect of the deal.
func (s *stage) settled(ctx context.Context, d demoDeal) (bool, error) {
	lines, err := trace(ctx, s.pool, d.key)
	effects := 0
	for _, l := range lines {
		if l.Kind != "effect" {
			continue
		}
		if l.state == ledger.Claimed.String() || l.state == ledger.Unknown.String() {
			return false, err
		}
		effects++
	}
	return effects > 0, err
}

func (s *stage) held(ctx context.Context, group string, f ledger.Filter) (held []ledger.Held, err error) {
	err = queues(ctx, s.pool, group, func(_ fleet.Group, q *ledger.Queue) error {
		held, err = q.List(ctx, f)
		return err
	})
	return held, err
}

func (s *stage) isHeld(ctx context.Context, group, tenant, cause string) (bool, error) {
	held, err := s.held(ctx, group, ledger.Filter{Tenant: tenant, Cause: cause})
	return len(held) > 0, err
}

func (s *stage) isHeldKey(ctx context.Context, group, key string) (bool, error) {
	held, err := s.held(ctx, group, ledger.Filter{Key: key})
	return len(held) > 0, err
}

func (s *stage) release(ctx context.Context, group, tenant string) error {
	return queues(ctx, s.pool, group, func(_ fleet.Group, q *ledger.Queue) error {
		_, err := q.Release(ctx, ledger.Filter{Tenant: tenant}, actor(), "demonstration")
		return err
	})
}

func (s *stage) tellWhy(ctx context.Context, g *globals, what string) error {
	store, pool, err := openTenants(ctx, g, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	w, err := why(ctx, pool, store, what)
	if err != nil {
		return err
	}
	s.say("conveyance why %s", what)
	for _, line := range w.Sentences {
		s.say("    %s", line)
	}
	return nil
}

// mend sets the SkySlope account's settings in the tenant's file and applies it; restore takes that
// back.
func (s *stage) mend(ctx context.Context, g *globals, settings string) (restore func(), err error) {
	file := filepath.Join(g.Dir, "tenants", here+".yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	line := "-skyslope.json}\n"
	after := strings.Replace(string(before), line, line+"    settings: "+settings+"\n", 1)
	if after == string(before) {
		return nil, fmt.Errorf("%s has no line that ends with %q to put the settings after", file, strings.TrimSpace(line))
	}
	if err := os.WriteFile(file, []byte(after), 0o600); err != nil {
		return nil, err
	}
	restore = func() {
		_ = os.WriteFile(file, before, 0o600)
		_ = s.reapply(context.WithoutCancel(ctx), g)
	}
	if err := s.reapply(ctx, g); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

func (s *stage) reapply(ctx context.Context, g *globals) error {
	return applyTenants(ctx, g, filepath.Join(g.Dir, "tenants"), (&stack{g: g}).sealingKeyFile())
}

// demoVerdict is the last line, as --json prints it.
type demoVerdict struct {
	Kind    string `json:"kind"`
	Demo    string `json:"demo"`
	OK      bool   `json:"ok"`
	Verdict string `json:"verdict"`
}

// verdictOf counts what the CRM holds of the deal, and ends the demonstration: one person, and ok.
func (s *stage) verdictOf(ctx context.Context, d demoDeal, name string, ok bool, said string) error {
	people, err := s.people(ctx, d)
	if err != nil {
		return err
	}
	ok = ok && len(people) == 1
	at := "without a stage"
	if len(people) > 0 {
		at = "with stage " + people[0].Stage
	}
	v := demoVerdict{"verdict", name, ok, fmt.Sprintf("%d person %s: %s", len(people), at, said)}
	if err := s.g.print(v, func(w io.Writer) {
		word := "OK"
		if !ok {
			word = "NOT OK"
		}
		_, _ = fmt.Fprintf(w, "verdict %s %s: %s\n", name, word, v.Verdict)
	}); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("demo %s did not end as it must: see its verdict", name)
	}
	return nil
}
