package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/singleflight"
)

const (
	// callTimeout is one question to the registry. A lookup takes milliseconds; a partition must
	// not stand still longer than its group's session for one that does not answer.
	callTimeout = 5 * time.Second
	// urlTimeout is one URL's share of that, so that a second URL gets its turn.
	urlTimeout = 2 * time.Second
	// downPause is how long the registry is not asked again after it did not answer, so that ten
	// unknown ids at start cost one time-out, not ten.
	downPause = 2 * time.Second
	// deniedPause is how often an id that the registry denies is asked for again at most.
	deniedPause = time.Second
)

// remote is the registry as a source, with the cache file behind it. The registry's answer always
// goes first; the file serves only where there is no answer.
type remote struct {
	client *sr.Client
	cache  *cache
	now    func() time.Time
	grace  time.Duration
	flight singleflight.Group

	mu        sync.Mutex
	downUntil time.Time
	denials   map[uint32]denial
}

// denial is what the registry said about an id that it does not know.
type denial struct{ first, last time.Time }

func newRemote(cfg Config) (*remote, error) {
	client, name, err := newClient(cfg.Registry, urlTimeout)
	if err != nil {
		return nil, err
	}
	r := &remote{client: client, now: cfg.Now, grace: cmp.Or(cfg.Grace, GraceDefault), denials: map[uint32]denial{}}
	if r.now == nil {
		r.now = time.Now
	}
	r.cache, err = openCache(cfg.Cache, name)
	return r, err
}

func (r *remote) id(ctx context.Context, subject, text string) (uint32, error) {
	v, err := r.once(ctx, "subject "+subject, func(ctx context.Context) (any, error) {
		known, ok := r.cache.id(subject, text)
		if down := r.down(); down != nil {
			return orCached(known, ok, down)
		}
		found, err := r.client.LookupSchema(ctx, subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
		switch {
		case err == nil:
			id := uint32(found.ID) //nolint:gosec // G115: registries number from 1 in 31 bits
			r.cache.learnID(subject, id, text)
			return id, nil
		case isCode(err, sr.ErrSubjectNotFound) || isCode(err, sr.ErrSchemaNotFound):
			return uint32(0), fmt.Errorf("%w: subject %s does not hold this build's schema: "+
				"run conveyance schema register", ErrUnavailable, subject)
		default:
			return orCached(known, ok, r.unanswered(err))
		}
	})
	if err != nil {
		return 0, err
	}
	return v.(uint32), nil
}

func (r *remote) text(ctx context.Context, id uint32) (string, error) {
	v, err := r.once(ctx, "id "+strconv.FormatUint(uint64(id), 10), func(ctx context.Context) (any, error) {
		known, ok := r.cache.text(id)
		if down := r.down(); down != nil {
			return orCached(known, ok, down)
		}
		if err := r.denied(id, false); err != nil {
			return "", err
		}
		found, err := r.client.SchemaByID(ctx, int(id))
		switch {
		case err == nil && found.Type != sr.TypeAvro:
			return "", fmt.Errorf("%w: schema %d is %s, not Avro", ErrPoison, id, found.Type)
		case err == nil:
			r.cache.learnText(id, found.Schema)
			return found.Schema, nil
		case isCode(err, sr.ErrSchemaNotFound):
			return "", r.denied(id, true)
		default:
			return orCached(known, ok, r.unanswered(err))
		}
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

// once lets one caller ask and the others wait for its answer. The question outlives a caller that
// gives up, since others may wait for it; each caller's own context ends its own wait.
func (r *remote) once(ctx context.Context, key string, ask func(context.Context) (any, error)) (any, error) {
	answer := r.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		return ask(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answer:
		return a.Val, a.Err
	}
}

func orCached[V any](v V, ok bool, err error) (any, error) {
	if ok {
		return v, nil
	}
	return nil, err
}

// down is an error while the registry is not to be asked again.
func (r *remote) down() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now().Before(r.downUntil) {
		return fmt.Errorf("%w: it did not answer a moment ago", ErrUnavailable)
	}
	return nil
}

// unanswered notes that the registry gave no answer that could be used.
func (r *remote) unanswered(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.downUntil = r.now().Add(downPause)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// denied says what a denied id means now; with fresh the registry has just denied it. It is nil
// where the registry is to be asked. Time counts from the first denial, not from an outage before.
func (r *remote) denied(id uint32, fresh bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	d, seen := r.denials[id]
	if !fresh && (!seen || now.Sub(d.last) >= deniedPause) {
		return nil
	}
	if fresh {
		if !seen {
			d.first = now
		}
		d.last = now
		r.denials[id] = d
	}
	if now.Sub(d.first) < r.grace {
		return fmt.Errorf("%w: %w: the registry does not know schema %d yet", ErrUnavailable, ErrUnknownSchema, id)
	}
	return fmt.Errorf("%w: %w: the registry has denied schema %d for %s: "+
		"once it holds it, conveyance held release goes on", ErrPoison, ErrUnknownSchema, id, r.grace)
}

func isCode(err error, want *sr.Error) bool {
	r, ok := errors.AsType[*sr.ResponseError](err)
	return ok && r.StatusCode == http.StatusNotFound && r.ErrorCode == want.Code
}
