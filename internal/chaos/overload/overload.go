// Package overload is the lane of too much: ten times the load that a national franchise has at its peak,
// one brokerage that makes nine tenths of it, one person's record whose vendor takes half a minute. Its
// tests run up with every stage as a process and print what they measured; how long they go on is said in
// the environment (task chaos:overload). Without that they are a short sample that holds to what needs no
// clock: memory, and that a 2xx is durable.
package overload

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// webhook is a delivery of the simulated DocuSign's form about an envelope that nobody has signed, which
// is whole without a call to the vendor.
const webhook = `{"event":"envelope-sent","apiVersion":"v2.1","retryCount":0,"configurationId":1,"generatedDateTime":"%[3]s",
"data":{"accountId":"%[1]s","userId":"fdb7fd81-065c-44f0-8376-daa56da18c13","envelopeId":"%[2]s","envelopeSummary":{
"status":"sent","emailSubject":"Please sign","envelopeId":"%[2]s","createdDateTime":"%[3]s","lastModifiedDateTime":"%[3]s",
"sentDateTime":"%[3]s","statusChangedDateTime":"%[3]s","sender":{"userName":"Nora Vance","email":"nora.vance@example.com"},
"customFields":{"textCustomFields":[{"fieldId":"1","name":"Note","show":"true","required":"false","value":"%[4]s"}],"listCustomFields":[]},
"recipients":{"signers":[{"recipientId":"1","userId":"b72bd827-0000-4000-8000-000000000001","recipientType":"signer","name":"Mira Holt",
"email":"mira@example.com","roleName":"Buyer","routingOrder":"1","status":"sent","sentDateTime":"%[3]s"}],"recipientCount":"1"},
"purgeState":"unpurged"}}}`

// noteBytes make a delivery about as long as a real one.
const noteBytes = 1 << 10

// door is where an account's deliveries go.
type door struct {
	url, secret, account string // account is the vendor's id
	series               int    // tells envelopes of several senders apart
}

// id of the i-th envelope.
func (d door) id(i int) string { return fmt.Sprintf("%08x-ce24-4a0a-8135-%012d", d.series, i) }

// answered is what a delivery was answered, and when it was sent.
type answered struct {
	i      int
	status int // 0 = not at all
	at     time.Time
	took   time.Duration
}

// deliver sends the i-th envelope.
func (d door) deliver(ctx context.Context, c *http.Client, i int) answered {
	at := time.Now()
	body := fmt.Appendf(nil, webhook, d.account, d.id(i), at.UTC().Format("2006-01-02T15:04:05.0000000Z"),
		bytes.Repeat([]byte("x"), noteBytes))
	mac := hmac.New(sha256.New, []byte(d.secret))
	mac.Write(body)
	out := answered{i: i, at: at}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return out
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-DocuSign-Signature-1", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := c.Do(req)
	if err != nil {
		return out
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	_ = resp.Body.Close()
	out.status, out.took = resp.StatusCode, time.Since(at)
	return out
}

// flyingMax deliveries of one sender have no answer yet at most; what is due beyond is not sent.
const flyingMax = 512

// flood sends so many deliveries a second for a time, each when it is due whether or not those before it
// were answered, and returns the answers and how many could not be sent.
func (d door) flood(ctx context.Context, perSecond int, long time.Duration) (all []answered, unsent int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: flyingMax}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var flying sync.WaitGroup
	places := make(chan struct{}, flyingMax)
	every := time.Second / time.Duration(perSecond)
	began := time.Now()
	for i := 0; time.Duration(i)*every < long && ctx.Err() == nil; i++ {
		if wait := time.Until(began.Add(time.Duration(i) * every)); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
		}
		select {
		case places <- struct{}{}:
		default:
			unsent++
			continue
		}
		flying.Go(func() {
			a := d.deliver(ctx, client, i)
			<-places
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		})
	}
	flying.Wait()
	return all, unsent
}

// accepted are the envelopes that were answered 2xx.
func accepted(all []answered) []answered {
	return slices.DeleteFunc(slices.Clone(all), func(a answered) bool { return a.status < 200 || a.status > 299 })
}

// quantile of durations, which need be in no order.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
