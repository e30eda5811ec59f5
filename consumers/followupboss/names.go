package followupboss

import (
	"context"
	"strings"
	"sync"
	"time"

	"conveyance/internal/tenant"
)

const (
	// namesFor is how long an account's names are believed: people rename stages seldom.
	namesFor = 10 * time.Minute
	// missedFor is how long the absence of a name is believed: somebody has just made the stage
	// whose absence parked a deal, and releases it.
	missedFor = 5 * time.Second
)

// names remembers the ids that an account's users and stages have. It is safe for concurrent use.
type names struct {
	mu    sync.Mutex
	lists map[string]*list
}

type list struct {
	mu  sync.Mutex // held over the load: one at a time asks for a list
	at  time.Time
	ids map[string]int64
}

func newNames() *names { return &names{lists: map[string]*list{}} }

// id returns the id of a name in one of an account's lists, read by load where it is old or lacks it.
func (n *names) id(a tenant.Account, what, name string, load func() (map[string]int64, error)) (int64, bool, error) {
	n.mu.Lock()
	l := n.lists[what+" "+a.Key()]
	if l == nil {
		l = &list{}
		n.lists[what+" "+a.Key()] = l
	}
	n.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	name = fold(name)
	id, ok := l.ids[name]
	age := time.Since(l.at)
	if age < missedFor || (ok && age < namesFor) {
		return id, ok, nil
	}
	ids, err := load()
	if err != nil {
		return 0, false, err
	}
	l.ids, l.at = ids, time.Now()
	id, ok = ids[name]
	return id, ok, nil
}

func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// user returns the id of an account's user by e-mail.
func (a *Adapter) user(ctx context.Context, acc tenant.Account, email string) (int64, bool, error) {
	return a.names.id(acc, "users", email, func() (map[string]int64, error) {
		ids := map[string]int64{}
		err := pages(ctx, a.crm, acc, "/v1/users", "users", nil, func(u user) bool {
			ids[fold(u.Email)] = u.ID
			return false
		})
		return ids, err
	})
}

// personStage returns the id of a person's stage by name.
func (a *Adapter) personStage(ctx context.Context, acc tenant.Account, name string) (int64, bool, error) {
	return a.names.id(acc, "stages", name, func() (map[string]int64, error) {
		ids := map[string]int64{}
		err := pages(ctx, a.crm, acc, "/v1/stages", "stages", nil, func(s stage) bool {
			ids[fold(s.Name)] = s.ID
			return false
		})
		return ids, err
	})
}

type user struct {
	ID    int64  `json:"id"`
	Email string `json:"email"`
}

type stage struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type pipeline struct {
	stage
	Stages []stage `json:"stages"`
}

// dealStage returns the id of a deal's stage by name, in the named pipeline or, without one, in the
// oldest that has it.
func (a *Adapter) dealStage(ctx context.Context, acc tenant.Account, inPipeline, name string) (int64, bool, error) {
	key := func(p, s string) string { return fold(p) + "\x00" + fold(s) }
	return a.names.id(acc, "pipelines", key(inPipeline, name), func() (map[string]int64, error) {
		ids, oldest := map[string]int64{}, map[string]int64{}
		err := pages(ctx, a.crm, acc, "/v1/pipelines", "pipelines", nil, func(p pipeline) bool {
			for _, s := range p.Stages {
				ids[key(p.Name, s.Name)] = s.ID
				if was, seen := oldest[fold(s.Name)]; !seen || p.ID < was {
					oldest[fold(s.Name)] = p.ID
					ids[key("", s.Name)] = s.ID
				}
			}
			return false
		})
		return ids, err
	})
}
