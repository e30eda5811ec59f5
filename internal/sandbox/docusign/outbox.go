package docusign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

const (
	// flyingMax is how many messages of a configuration are on their way at a time. They arrive in any
	// order.
	flyingMax = 8
	// triesMax is how often a message is tried again.
	triesMax = 10
	// retryEvery is how long a configuration that is down waits, in the vendor's time.
	retryEvery = 24 * time.Hour
	// behindMax is how long a reordered message waits for one that goes ahead of it.
	behindMax = time.Second
	// asleep is how long an outbox sleeps at most that waits for nothing in particular.
	asleep = time.Hour
)

// message is one event on its way to one configuration.
type message struct {
	happening
	n        int64 // of its delivery; rises in the order of events
	envelope map[string]any
	at       time.Time // of the event
	due      time.Time // not sent before, in our time
	behind   bool      // due as soon as a later one is sent
	copies   int
	tries    int
}

// tell queues what happened for every configuration that wants to know.
func (s *api) tell(a world.Account, rec records.Record, told []happening) {
	for _, h := range told {
		for _, cfg := range s.configurations(s.base.Records.Now(), a) {
			if !wants(cfg.Body, h.event) {
				continue
			}
			strike := s.base.Strike(a, h.event)
			m := &message{happening: h, envelope: rec.Body, at: rec.Modified, copies: strike.Copies, behind: strike.Behind}
			switch {
			case strike.After > 0:
				m.due = time.Now().Add(strike.After)
			case strike.Behind:
				m.due = time.Now().Add(behindMax)
			}
			m.n = s.log.add(Delivery{
				At: rec.Modified, Account: a.Short(), Config: cfg.ID, Envelope: rec.ID, Event: h.event, Recipient: h.recipient,
				URL: text(cfg.Body["urlToPublishTo"]), Status: waiting, caller: a,
			})
			s.box(a, cfg.ID).add(m)
		}
	}
}

// run sends webhooks until ctx ends.
func (s *api) run(ctx context.Context) {
	defer close(s.ended)
	defer s.post.CloseIdleConnections()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		select {
		case b := <-s.opened:
			work.Go(func() { b.run(ctx) })
		case <-ctx.Done():
			return
		}
	}
}

// box is a configuration's outbox.
func (s *api) box(a world.Account, config string) *outbox {
	key := connectKey(a, config)
	s.mu.Lock()
	b := s.boxes[key]
	isNew := b == nil
	if isNew {
		b = &outbox{api: s, account: a, key: key, wake: make(chan struct{}, 1)}
		s.boxes[key] = b
	}
	s.mu.Unlock()
	if isNew {
		select {
		case s.opened <- b:
		case <-s.ended:
		}
	}
	return b
}

// outbox is what one configuration has to be sent:
//
//	up       up to flyingMax at a time, in any order
//	down     after a message that was not taken: only the first, every retryEvery; the others wait
//	drained  after one that was taken: what had waited, one at a time, in order; then up
type outbox struct {
	api     *api
	account world.Account
	key     records.Key
	wake    chan struct{}

	mu      sync.Mutex
	queue   []*message // by n
	flying  int
	down    bool
	next    time.Time // of the next try while down
	backlog int       // of the queue, still to be sent in order
}

func (b *outbox) add(m *message) {
	b.mu.Lock()
	b.insert(m)
	if b.backlog > 0 {
		b.backlog++ // nothing overtakes the backlog
	}
	b.mu.Unlock()
	b.ring()
}

func (b *outbox) insert(m *message) {
	i, _ := slices.BinarySearchFunc(b.queue, m.n, func(q *message, n int64) int { return int(q.n - n) })
	b.queue = slices.Insert(b.queue, i, m)
}

// nudge has the next try happen now.
func (b *outbox) nudge() {
	b.mu.Lock()
	b.next = time.Time{}
	b.mu.Unlock()
	b.ring()
}

func (b *outbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (b *outbox) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		m, wait := b.take(time.Now())
		if m != nil {
			work.Go(func() { b.deliver(ctx, m) })
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-b.wake:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// take is the message that goes now; nil and how long to wait where none does.
func (b *outbox) take(now time.Time) (*message, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	inOrder := b.down || b.backlog > 0
	switch {
	case len(b.queue) == 0, b.flying >= flyingMax, inOrder && b.flying > 0:
		return nil, asleep
	case b.down && now.Before(b.next):
		return nil, b.next.Sub(now)
	}
	wait := asleep
	for i, m := range b.queue {
		if left := m.due.Sub(now); left > 0 && !inOrder {
			wait = min(wait, left)
			continue
		}
		b.queue = slices.Delete(b.queue, i, i+1)
		b.flying++
		return m, 0
	}
	return nil, wait
}

// deliver sends a message, with its copies, to the configuration as it is now.
func (b *outbox) deliver(ctx context.Context, m *message) {
	s := b.api
	cfg := s.base.Records.Now().Get(b.key)
	if !cfg.Exists() || !sends(cfg.Body) {
		b.settle(m, dropped, Delivery{Error: "the configuration is gone or off"})
		return
	}
	body, err := m.body(b.account, cfg.Body)
	if err != nil {
		b.settle(m, dropped, Delivery{Error: err.Error()})
		return
	}
	sum := sha256.Sum256(body)
	d := Delivery{BodySHA256: hex.EncodeToString(sum[:]), URL: text(cfg.Body["urlToPublishTo"]), Attempts: 1}
	d.HTTPStatus, err = s.send(ctx, b.account, cfg.Body, body)
	for err == nil && d.Copies < m.copies {
		if _, again := s.send(ctx, b.account, cfg.Body, body); again != nil && ctx.Err() != nil {
			return
		}
		d.Copies++
	}
	status := sent
	switch {
	case err != nil && ctx.Err() != nil:
		return // the sandbox closes
	case err != nil && truth(cfg.Body["requiresAcknowledgement"]):
		status, d.Error = retrying, reason(d.HTTPStatus)
	case err != nil:
		status, d.Error = failed, reason(d.HTTPStatus)
	}
	b.settle(m, status, d)
}

// reason says why a message was not taken, without what a listener wrote.
func reason(status int) string {
	if status == 0 {
		return "no answer"
	}
	return "answered " + http.StatusText(status)
}

// settle ends one try of a message.
func (b *outbox) settle(m *message, status string, d Delivery) {
	b.mu.Lock()
	b.flying--
	switch status {
	case retrying:
		m.tries++
		b.down, b.backlog, b.next = true, 0, time.Now().Add(b.retryAfter())
		if m.tries > triesMax {
			status = failed
			break
		}
		b.insert(m)
	case sent:
		b.backlog = max(0, b.backlog-1)
		if b.down {
			b.down, b.backlog = false, len(b.queue)
		}
		for _, q := range b.queue {
			if q.behind && q.n < m.n {
				q.due = time.Time{}
			}
		}
	default:
		b.backlog = max(0, b.backlog-1)
	}
	b.mu.Unlock()
	b.api.log.change(m.n, func(l *Delivery) {
		l.Status, l.HTTPStatus, l.Error, l.Copies = status, d.HTTPStatus, d.Error, l.Copies+d.Copies
		l.Attempts, l.BodySHA256 = l.Attempts+d.Attempts, d.BodySHA256
		if d.URL != "" {
			l.URL = d.URL
		}
	})
	b.ring()
}

func (b *outbox) retryAfter() time.Duration {
	if every := b.api.base.WebhookRetry; every > 0 {
		return every
	}
	return b.api.base.Scaled(retryEvery)
}
