package e2e

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/chaos"
	"conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit"
	"conveyance/internal/testkit/realkit"
)

const (
	roundsDefault  = 3
	deliveryEvery  = 50 * time.Millisecond // 20 a second
	resumedWithin  = 10 * time.Second      // after a leader change
	mendedWithin   = 2 * time.Minute
	brokerPatience = time.Minute
)

// failover replaces a leader that is silent for 5 s; Kafka's own 9 s would only make the lane longer, and 2 s
// would lose leaders on a machine that has other things to do.
func failover() map[string]string {
	return map[string]string{"broker.session.timeout.ms": "5000", "broker.heartbeat.interval.ms": "500"}
}

// shower sends webhooks without a break and keeps what the door answered.
type shower struct {
	mu      sync.Mutex
	status  map[int]int
	taken   map[string]bool
	refused time.Time // the latest delivery's beginning that was not taken
}

func (s *shower) rain(ctx context.Context, b *bus, p paper) (stop func()) {
	s.status, s.taken = map[int]int{}, map[string]bool{}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			work.Go(func() {
				d, began := b.thin(p, n), time.Now()
				a := b.send(context.WithoutCancel(ctx), d)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.status[a.status]++
				if a.status == http.StatusOK {
					s.taken[string(d.body)] = true
				} else if began.After(s.refused) {
					s.refused = began
				}
			})
			chaos.Pause(ctx, deliveryEvery)
		}
	})
	return func() { cancel(); work.Wait() }
}

// target is a node that is struck for what it does.
type target struct {
	name string
	find func(context.Context) (int, error)
}

// TestBrokersFallInTurnAndNoAcceptedWebhookIsLost kills, freezes and restarts the leader, the controller and a
// group's coordinator in turn, while webhooks come. CONVEYANCE_E2E_ROUNDS says how often (25 by task chaos:brokers).
func TestBrokersFallInTurnAndNoAcceptedWebhookIsLost(t *testing.T) {
	k := realkit.Kafka(t, kafka.Options{Layout: kafka.Three, Set: failover()})
	lab, err := chaos.Start(t.Context(), chaos.Config{
		Exe: build(t), Dir: filepath.Join(t.TempDir(), "bus"), Kafka: k.Bootstrap(), Postgres: testkit.Database(t),
	})
	require.NoError(t, err)
	b := ending(t, lab)
	ctx := t.Context()
	hints := b.Info.TopicPrefix + "webhooks.docusign.v1"
	targets := []target{
		{"leader", func(ctx context.Context) (int, error) { return k.Leader(ctx, hints, 0) }},
		{"controller", k.Controller},
		{"coordinator", func(ctx context.Context) (int, error) { return k.Coordinator(ctx, b.Info.TopicPrefix+"fetch") }},
	}
	strikes := []struct {
		name         string
		strike, mend func(int) error
	}{
		{"killed", k.Kill, func(id int) error { return k.StartNode(ctx, id) }},
		{"frozen", k.Pause, k.Resume},
		{"restarted", k.StopNode, func(id int) error { return k.StartNode(ctx, id) }},
	}
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000040"}
	b.write(ctx, p, "sent", "", 0, "somebody@example.com")
	var s shower
	stop := s.rain(ctx, b, p)
	worst := time.Duration(0)
	for round := range number(t, "ROUNDS", roundsDefault) {
		to, by := targets[round%len(targets)], strikes[round/len(targets)%len(strikes)]
		id := find(t, to.find)
		before := find(t, targets[0].find)
		began := time.Now()
		require.NoError(t, by.strike(id))
		changed := began
		if id == before {
			require.Eventually(t, func() bool {
				now, err := targets[0].find(ctx)
				return err == nil && now != id
			}, brokerPatience, 50*time.Millisecond, "a new leader")
			changed = time.Now()
		}
		b.sale(ctx, "lakeshore", 1000+round)
		chaos.Pause(ctx, time.Until(changed.Add(resumedWithin)))
		s.mu.Lock()
		resumed := max(0, s.refused.Sub(changed))
		s.mu.Unlock()
		t.Logf("round %d: %s, node %d, %s: new leader after %d ms, the last refusal %d ms after it",
			round+1, to.name, id, by.name, changed.Sub(began).Milliseconds(), resumed.Milliseconds())
		require.Less(t, resumed, resumedWithin, "2xx again")
		worst = max(worst, resumed)
		require.NoError(t, by.mend(id))
		require.Eventually(t, func() bool {
			all, err := k.InSync(ctx)
			return err == nil && all
		}, mendedWithin, 200*time.Millisecond, "all replicas in sync")
	}
	stop()
	accepted := len(s.taken)
	for _, m := range b.messages(ctx, "webhooks.docusign.v1") {
		delete(s.taken, string(m.Message.(*event.WebhookReceived).Body))
	}
	t.Logf("answers %v, %d accepted, %d of them lost, 2xx again at the latest %d ms after a leader change",
		s.status, accepted, len(s.taken), worst.Milliseconds())
	require.Empty(t, s.taken, "answered 200, and not in the log")
	for status := range s.status {
		require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, status)
	}
	b.settled(ctx)
}

// find asks until somebody answers.
func find(t *testing.T, who func(context.Context) (int, error)) (id int) {
	t.Helper()
	require.Eventually(t, func() (ok bool) {
		var err error
		id, err = who(t.Context())
		return err == nil
	}, brokerPatience, 100*time.Millisecond)
	return id
}
