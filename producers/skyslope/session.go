package skyslope

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/vendorjson"
	"conveyance/internal/verdict"
)

const (
	// renewBefore a session's end: longer than a call, and than two clocks usually differ.
	renewBefore = 2 * time.Minute
	// sessionUnstated is how long a session counts as good whose end cannot be read: half of the two
	// hours that SkySlope is said to give.
	sessionUnstated = time.Hour
	// refusedFor is when a login that SkySlope calls malformed is tried again.
	refusedFor = 5 * time.Minute
	// causeRefused is vendorhttp's word for a refused credential.
	causeRefused = "account refused"

	stampLayout = "2006-01-02T15:04:05Z"
)

// sessions keeps one session per account.
type sessions struct {
	mu   sync.Mutex
	byID map[string]*session
}

// session is an account's. Who holds turn may read and write it: so one login at a time, and others
// wait for it.
type session struct {
	turn       chan struct{}
	token      string
	until      time.Time
	credential map[string]string
}

func (s *sessions) of(a tenant.Account) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[a.Key()]
	if one == nil {
		one = &session{turn: make(chan struct{}, 1)}
		s.byID[a.Key()] = one
	}
	return one
}

// session returns a token that is good, logging in where there is none, where it ends soon, where
// the credential is another one, or where it is the one that was refused.
func (c *client) session(ctx context.Context, a tenant.Account, refused string) (string, error) {
	s := c.sessions.of(a)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if s.token != "" && s.token != refused && time.Now().Before(s.until) && maps.Equal(s.credential, a.Credential.Fields) {
		return s.token, nil
	}
	token, until, err := c.login(ctx, a)
	if err != nil {
		return "", err
	}
	s.token, s.until, s.credential = token, until, maps.Clone(a.Credential.Fields)
	return token, nil
}

// login trades a signed timestamp for a session. It may be repeated at will, so an unknown outcome
// is a retry.
func (c *client) login(ctx context.Context, a tenant.Account) (token string, until time.Time, err error) {
	f, stamp := a.Credential.Fields, time.Now().UTC().Format(stampLayout)
	body, err := json.Marshal(map[string]string{"ClientID": f["client_id"], "ClientSecret": f["client_secret"]})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("writing the login of %s: %w", a.Key(), err)
	}
	resp, err := c.do.Do(ctx, a, vendorhttp.Request{
		Method: http.MethodPost, Path: "/auth/login", Body: body, Free: true, Answers: []int{http.StatusBadRequest}, Readable: readable,
		Header: http.Header{
			"Content-Type":  {"application/json"},
			"Authorization": {"ss " + f["access_key"] + ":" + sign(f, stamp)},
			"Timestamp":     {stamp},
		},
	})
	if v := verdict.Of(err); v != nil && v.Kind == verdict.Doubt {
		return "", time.Time{}, verdict.RetryAfter(0, v.Cause, err)
	}
	if err != nil {
		return "", time.Time{}, err
	}
	if resp.Status == http.StatusBadRequest {
		scope := verdict.AccountScope(a.Tenant, a.Vendor, a.Name)
		return "", time.Time{}, verdict.Held(scope, time.Now().Add(refusedFor), causeRefused, nil)
	}
	var answer struct{ Session, Expiration string }
	if err := json.Unmarshal(vendorjson.Clean(resp.Body), &answer); err != nil || answer.Session == "" {
		return "", time.Time{}, verdict.RetryAfter(0, causeUnreadable,
			fmt.Errorf("reading the session of %s: none in the answer", a.Key()))
	}
	return answer.Session, ends(answer.Expiration, time.Now()), nil
}

// ends is when a session is renewed.
func ends(text string, from time.Time) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.Add(-renewBefore)
		}
	}
	return from.Add(sessionUnstated)
}

// sign is base64(HMAC-SHA256(AccessSecret, ClientID:ClientSecret:Timestamp)).
func sign(credential map[string]string, stamp string) string {
	mac := hmac.New(sha256.New, []byte(credential["access_secret"]))
	mac.Write([]byte(credential["client_id"] + ":" + credential["client_secret"] + ":" + stamp))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
