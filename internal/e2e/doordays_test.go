package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/chaos"
)

// outcome is what became of one of the vendor's webhooks.
type outcome struct {
	Envelope, Event, Status string
	Attempts                int
}

func (b *bus) deliveries(ctx context.Context, tenant string) (all []outcome) {
	b.t.Helper()
	b.control(ctx, http.MethodGet, "/docusign/deliveries?account="+tenant, "", &all)
	return all
}

// delivered waits until the door has taken all that the vendor has to send.
func (b *bus) delivered(ctx context.Context, tenant string) {
	b.t.Helper()
	b.await("every webhook taken", func() bool {
		for _, d := range b.deliveries(ctx, tenant) {
			if d.Status != "sent" {
				return false
			}
		}
		return true
	})
}

// disorder has an envelope's webhooks come several times, late, and the last ones first.
func disorder(ctx context.Context, b *bus) {
	for match, fault := range map[string]string{
		"WEBHOOK envelope-sent": "late:3", "WEBHOOK recipient-completed": "reorder",
		"WEBHOOK envelope-completed": "duplicate:3",
	} {
		b.control(ctx, http.MethodPost, "/docusign/faults",
			fmt.Sprintf(`{"account":"lakeshore","match":%q,"fault":%q}`, match, fault), nil)
	}
	s := b.sale(ctx, "lakeshore", 30)
	other := "other." + s.email
	var papers []paper
	for n := range 4 {
		p := paper{"lakeshore", fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", 30+n)}
		papers = append(papers, p)
		b.write(ctx, p, "sent", s.guid, 0, s.email, other)
		b.write(ctx, p, "delivered", s.guid, 1, s.email, other)
		b.write(ctx, p, "completed", s.guid, 2, s.email, other)
	}
	b.delivered(ctx, "lakeshore")
	b.control(ctx, http.MethodDelete, "/docusign/faults", "", nil)
	for _, p := range papers {
		b.await("both signatures on their deal", func() bool { return b.documents(ctx, p, s) == 2 })
	}
	b.handled(ctx)
	for _, p := range papers {
		var envelope struct {
			Changed time.Time `json:"statusChangedDateTime"`
		}
		b.control(ctx, http.MethodGet, "/docusign/envelopes/"+p.id+"?tenant=lakeshore", "", &envelope)
		held := b.one(ctx, "SELECT version FROM translate.translate_state WHERE resource = $1", p.key())
		require.EqualValues(b.t, envelope.Changed.UnixMilli(), held, "completed stays completed")
		_, signed := b.signatures(ctx, p)
		complete := 0
		for _, e := range signed {
			if e.EnvelopeComplete {
				complete++
			}
		}
		require.Len(b.t, signed, 2)
		require.Equal(b.t, 1, complete)
	}
}

const (
	awayFor     = 10 * time.Second
	awayEvery   = 20 * time.Millisecond // 50 a second
	doorKiBMost = 128 << 10
)

// kafkaAway counts what the door said while Kafka did not answer.
func kafkaAway(ctx context.Context, b *bus) {
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000040"}
	b.write(ctx, p, "sent", "", 0, "somebody@example.com")
	b.delivered(ctx, "lakeshore")
	var mu sync.Mutex
	answers, taken := map[int]int{}, map[string]bool{}
	most := 0
	require.True(b.t, b.Signal("broker", syscall.SIGSTOP))
	began := time.Now()
	var work sync.WaitGroup
	for n := 0; time.Since(began) < awayFor; n++ {
		work.Go(func() {
			d := b.thin(p, n)
			a := b.send(ctx, d)
			mu.Lock()
			defer mu.Unlock()
			answers[a.status]++
			if a.status == http.StatusOK {
				taken[string(d.body)] = true
			} else if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
				answers[-1]++
			}
		})
		if n%10 == 0 {
			most = max(most, b.resident("ingest"))
		}
		chaos.Pause(ctx, awayEvery)
	}
	require.True(b.t, b.Signal("broker", syscall.SIGCONT))
	work.Wait()
	b.t.Log(answers, "resident at most", most, "KiB")
	require.NotZero(b.t, answers[http.StatusServiceUnavailable], "it was away long enough")
	require.NotEmpty(b.t, taken)
	require.Len(b.t, answers, 2, "503 with Retry-After, and 200")
	require.Positive(b.t, most)
	require.Less(b.t, most, doorKiBMost)
	for _, m := range b.messages(ctx, "webhooks.docusign.v1") {
		delete(taken, string(m.Message.(*event.WebhookReceived).Body))
	}
	require.Empty(b.t, taken, "answered 200, and not in the log")
}

// resident is a process's memory in KiB, as the kernel counts it.
func (b *bus) resident(name string) int {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(b.Children()[name]), "status"))
	require.NoError(b.t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			require.NoError(b.t, err)
			return n
		}
	}
	return 0
}

// doorKilled kills the door while webhooks come, and while Kafka has not acknowledged some of them.
func doorKilled(ctx context.Context, b *bus) {
	s := b.sale(ctx, "lakeshore", 50)
	var papers []paper
	for n := range 12 {
		if n%6 == 2 {
			require.True(b.t, b.Signal("broker", syscall.SIGSTOP))
		}
		papers = append(papers, b.paper(ctx, "lakeshore", 100+n, s.guid, s.email))
		if n%6 == 4 {
			chaos.Pause(ctx, 200*time.Millisecond) // three wait for Kafka
			require.True(b.t, b.Signal("ingest", syscall.SIGKILL))
			require.True(b.t, b.Signal("broker", syscall.SIGCONT))
		}
	}
	b.delivered(ctx, "lakeshore")
	attempts := 0
	for _, d := range b.deliveries(ctx, "lakeshore") {
		if strings.HasPrefix(d.Envelope, "eeeeeeee-0000-4000-8000-0000000001") {
			attempts = max(attempts, d.Attempts)
		}
	}
	require.Greater(b.t, attempts, 1, "the vendor tried again")
	for _, p := range papers {
		b.await("the signature on its deal", func() bool { return b.documents(ctx, p, s) == 1 })
	}
}
