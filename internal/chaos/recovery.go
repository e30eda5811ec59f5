package chaos

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
)

const (
	// answersWithin is how long a part may take to answer before it is asked again.
	answersWithin = time.Second
	// askEvery is the resolution of what is measured.
	askEvery = 20 * time.Millisecond
	// recoverWithin is more than any part may need; afterwards it is a finding.
	recoverWithin = 90 * time.Second
)

// measure is a recovery that is being measured.
type measure struct {
	name   string
	pid    int                  // of the process that is killed
	owned  map[string]uuid.UUID // the tokens of what it owned, by place; nil where it owns nothing
	number int                  // of this kill among those of its name
	at     time.Time
}

// measure remembers what a process has before it is killed.
func (r *run) measure(ctx context.Context, name string) *measure {
	m := &measure{name: name, pid: r.Children()[name]}
	if slices.Contains(Owners(), name) {
		m.owned, _ = r.tokens(ctx, groupOf(name)) // where Postgres is away just now, its process counts alone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.kills[name]++
	m.number = r.report.kills[name]
	return m
}

// recovered waits until a process has a successor that does its work, and notes how long it took: an
// owner's has claimed every partition that the killed one owned, ingest's door answers, a part's port
// answers. A successor that was killed before counts for nothing: the next kill is measured from anew.
func (r *run) recovered(ctx context.Context, m *measure) {
	until := m.at.Add(recoverWithin)
	for ctx.Err() == nil && time.Now().Before(until) {
		r.mu.Lock()
		again := r.report.kills[m.name] != m.number
		r.mu.Unlock()
		if again {
			return
		}
		if r.works(ctx, m) {
			r.mu.Lock()
			r.report.recovery(m.name, time.Since(m.at))
			r.mu.Unlock()
			return
		}
		Pause(ctx, askEvery)
	}
	if ctx.Err() == nil {
		r.mu.Lock()
		r.report.more = append(r.report.more, m.name+" did not recover within "+recoverWithin.String())
		r.mu.Unlock()
	}
}

func (r *run) works(ctx context.Context, m *measure) bool {
	if r.Parts[m.name] == nil {
		if pid := r.Children()[m.name]; pid == 0 || pid == m.pid {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	switch m.name {
	case "ingest":
		return answers(ctx, r.Info.HTTP+"/healthz")
	case "registry":
		return answers(ctx, r.Info.Registry+"/subjects")
	case "broker":
		return dials(ctx, r.seeds()[0])
	case Postmaster:
		return r.Pool.Ping(ctx) == nil
	}
	now, err := r.tokens(ctx, groupOf(m.name))
	if err != nil || m.owned == nil {
		return err == nil
	}
	for place, token := range m.owned {
		if now[place] == token {
			return false
		}
	}
	return true
}

// tokens are the owners of a group's partitions, by place.
func (r *run) tokens(ctx context.Context, group string) (map[string]uuid.UUID, error) {
	rows, err := r.Pool.Query(ctx, postgres.In(group, sqlTokens))
	if err != nil {
		return nil, err
	}
	all := map[string]uuid.UUID{}
	var place string
	var token uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&place, &token}, func() error {
		all[place] = token
		return nil
	})
	return all, err
}

func answers(ctx context.Context, at string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func dials(ctx context.Context, addr string) bool {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	return err == nil && c.Close() == nil
}
