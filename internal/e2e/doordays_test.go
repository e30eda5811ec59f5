package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

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
