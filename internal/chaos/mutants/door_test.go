package mutants

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
)

// accountIDs are the demonstration's accounts as DocuSign calls them.
var accountIDs = map[string]string{
	"lakeshore": "8d0c6a52-1f4e-4b7e-9a3f-2c5de1f6a901",
	"redrock":   "e71b5f04-93ad-4c28-8f60-7b1a4d92c3b7",
}

// delivery is a webhook of the lab's own, signed by a tenant's key and on its way to its door.
type delivery struct {
	tenant string
	body   []byte
}

// thin names an envelope, of an account, and holds nothing of it; n tells deliveries apart.
func (l *lab) thin(p paper, n int, account string) delivery {
	made := time.UnixMilli(1_770_000_000_000 + int64(n)).UTC().Format(time.RFC3339Nano)
	return delivery{p.tenant, fmt.Appendf(nil, `{"event":"envelope-completed","apiVersion":"v2.1","uri":"/","retryCount":0,`+
		`"configurationId":900,"generatedDateTime":%q,"data":{"accountId":%q,"userId":"u","envelopeId":%q}}`, made, account, p.id)}
}

// send delivers once; 0 is no answer.
func (l *lab) send(ctx context.Context, d delivery) int {
	account := l.Info.Tenants[d.tenant].Accounts["docusign/main"]
	mac := hmac.New(sha256.New, []byte(account.Secret))
	_, _ = mac.Write(d.body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, account.Webhook, bytes.NewReader(d.body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Docusign-Signature-1", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// deliver delivers once, and has it judged.
func (l *lab) deliver(ctx context.Context, d delivery) int {
	status := l.send(ctx, d)
	l.note(d, status, false)
	return status
}

func (l *lab) note(d delivery, status int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, judge.Sent{Account: d.tenant + "/docusign/main", Body: d.body, Status: status, Due: due})
}

// settled is an envelope that has arrived everywhere, to speak of.
func (l *lab) settled() paper {
	l.t.Helper()
	p := l.paper(l.sale("lakeshore", 1), 1)
	l.rest()
	return p
}

// doorFull sends more than may be in flight while Kafka does not answer. What is refused comes again,
// as from a vendor.
func doorFull(ctx context.Context, l *lab) {
	const deliveries, padding = 330, 60 << 10 // 20 MB, of which 16 may be in flight
	p := l.settled()
	l.signal("broker", syscall.SIGSTOP)
	var work sync.WaitGroup
	thawed := make(chan struct{})
	refused := make(chan int, deliveries)
	for n := range deliveries {
		work.Go(func() {
			d := l.thin(p, n, accountIDs[p.tenant])
			d.body = append(d.body[:len(d.body)-1], `,"pad":"`+strings.Repeat("x", padding)+`"}`...)
			status := l.send(ctx, d)
			if status != http.StatusOK {
				refused <- n
				<-thawed
				for range 20 {
					if status = l.send(ctx, d); status == http.StatusOK {
						break
					}
					chaos.Pause(ctx, look)
				}
			}
			l.note(d, status, true)
		})
	}
	l.await("a full door", func() bool { return len(refused) > 20 })
	l.signal("broker", syscall.SIGCONT)
	close(thawed)
	work.Wait()
	l.handled()
}

// senderLeaves has some senders leave before Kafka answers, and others stay.
func senderLeaves(ctx context.Context, l *lab) {
	const deliveries = 240
	p := l.settled()
	l.signal("broker", syscall.SIGSTOP)
	var work sync.WaitGroup
	for n := range deliveries {
		d := l.thin(p, n, accountIDs[p.tenant])
		work.Go(func() {
			if n%2 == 1 {
				l.note(d, l.send(ctx, d), true)
				return
			}
			leaves, cancel := context.WithTimeout(ctx, underWay)
			defer cancel()
			l.note(d, l.send(leaves, d), false)
		})
	}
	chaos.Pause(ctx, 2*underWay)
	l.signal("broker", syscall.SIGCONT)
	work.Wait()
	l.handled()
}

// strangersBody has one tenant sign what names another's account.
func strangersBody(ctx context.Context, l *lab) {
	p := l.settled()
	l.deliver(ctx, l.thin(p, 1, accountIDs["redrock"]))
	require.Equal(l.t, http.StatusOK, l.deliver(ctx, l.thin(p, 2, accountIDs[p.tenant])))
	l.handled()
}
