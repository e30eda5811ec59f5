package docusign

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

// payload is a webhook's body: JSON SIM.
type payload struct {
	Event      string `json:"event"`
	APIVersion string `json:"apiVersion"`
	URI        string `json:"uri"`
	RetryCount int    `json:"retryCount"`
	Config     int64  `json:"configurationId"`
	Generated  string `json:"generatedDateTime"`
	Data       data   `json:"data"`
}

type data struct {
	Account   string `json:"accountId"`
	User      string `json:"userId"`
	Recipient string `json:"recipientId,omitempty"`
	Envelope  string `json:"envelopeId"`
	Summary   any    `json:"envelopeSummary,omitempty"`
}

// body is what a configuration is sent of a message.
func (m *message) body(a world.Account, cfg map[string]any) ([]byte, error) {
	id := text(m.envelope["envelopeId"])
	config, err := strconv.ParseInt(text(cfg["connectId"]), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration's id: %w", err)
	}
	p := payload{
		Event: m.event, APIVersion: "v2.1", URI: "/restapi/v2.1/accounts/" + a.ExternalID + "/envelopes/" + id,
		RetryCount: m.tries, Config: config, Generated: stamp(m.at),
		Data: data{Account: a.ExternalID, User: user(a), Recipient: m.recipient, Envelope: id},
	}
	eventData, _ := cfg["eventData"].(map[string]any)
	if include := texted(eventData["includeData"]); len(include) > 0 {
		p.Data.Summary = texts(envelopeOf(m.envelope, include))
	}
	return json.Marshal(p)
}

func texted(list any) []string {
	items, _ := list.([]any)
	var out []string
	for _, item := range items {
		if s := text(item); s != "" {
			out = append(out, s)
		}
	}
	return out
}

const (
	// acknowledged is how long a listener may take, in the vendor's time; acknowledgedMin is what it
	// has at least in ours.
	acknowledged    = 100 * time.Second
	acknowledgedMin = 5 * time.Second
	// answerBytesMax is how much of a listener's answer is read.
	answerBytesMax = 64 << 10
)

// client posts webhooks: it follows no redirect, and goes through no proxy.
func client(base world.Base) *http.Client {
	return &http.Client{
		Timeout:       max(acknowledgedMin, base.Scaled(acknowledged)),
		Transport:     &http.Transport{MaxIdleConnsPerHost: flyingMax, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send posts a body to a configuration's URL and returns the status that it was answered with; an
// error where that is not 2xx.
func (s *api) send(ctx context.Context, a world.Account, cfg map[string]any, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, text(cfg["urlToPublishTo"]), bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("urlToPublishTo is no URL")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if truth(cfg["includeHMAC"]) {
		req.Header.Set("X-Authorization-Digest", "HMACSHA256")
		for i, key := range s.keys(a) {
			req.Header.Set("X-DocuSign-Signature-"+strconv.Itoa(i+1), signature(key, body))
		}
	}
	res, err := s.post.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerBytesMax)) // so that the connection serves again
	if res.StatusCode/100 != 2 {
		return res.StatusCode, errors.New("answered " + res.Status)
	}
	return res.StatusCode, nil
}

// signature signs a body. The key's text is used as it is, though it looks like base64.
func signature(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// keysMax is how many keys an account may have.
const keysMax = 100

// keys are what an account's webhooks are signed with: those that a control call set last, else
// hmac_key_1 and so on of its credential.
func (s *api) keys(a world.Account) []string {
	if rec := s.base.Records.Now().Get(keysKey(a)); rec.Exists() {
		return texted(rec.Body["keys"])
	}
	var out []string
	for n := 1; n <= keysMax && a.Credential["hmac_key_"+strconv.Itoa(n)] != ""; n++ {
		out = append(out, a.Credential["hmac_key_"+strconv.Itoa(n)])
	}
	return out
}

func (s *api) setKeys(a world.Account, to []string) error {
	if len(to) > keysMax || slices.Contains(to, "") {
		return fmt.Errorf("there are up to %d keys, none empty", keysMax)
	}
	_, err := s.base.Records.Put(keysKey(a), func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: map[string]any{"keys": to}}, nil
	})
	return err
}

func keysKey(a world.Account) records.Key {
	return records.Key{Account: a.Key(), Kind: keys, ID: keys}
}
