package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// saidMax bounds what is kept of a refusal.
const saidMax = 1 << 10

// Control makes a call to the simulated vendors' control, and reads the answer where into is not nil.
func (b *Bus) Control(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, b.Info.Sandbox+"/_control"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the vendors' control: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, saidMax))
		return fmt.Errorf("asking the vendors' control to %s %s: %s: %s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the vendors' %s: %w", path, err)
	}
	return nil
}

// Story begins a story at the simulated vendors.
func (b *Bus) Story(ctx context.Context, seed int64, deals, perSecond int) error {
	return b.Control(ctx, http.MethodPost, "/story",
		fmt.Sprintf(`{"seed":%d,"deals":%d,"per_second":%d}`, seed, deals, perSecond), nil)
}

// Told is true once every story is over.
func (b *Bus) Told(ctx context.Context) bool {
	var all []struct {
		Running bool `json:"running"`
	}
	if b.Control(ctx, http.MethodGet, "/story", "", &all) != nil || len(all) == 0 {
		return false
	}
	for _, s := range all {
		if s.Running {
			return false
		}
	}
	return true
}

// Weather is what vendors do on a bad day: answers that come after the time-out, broken connections,
// half answers, errors, limits.
func (b *Bus) Weather(ctx context.Context) error {
	for vendor, faults := range map[string][]string{
		"followupboss": {
			`{"match":"POST /v1/people*","times":8,"fault":"late:1"}`,
			`{"match":"POST /v1/deals*","times":8,"fault":"late:1"}`,
			`{"match":"PUT /v1/*","times":8,"fault":"late:1"}`,
			`{"match":"POST /v1/*","times":6,"fault":"reset"}`,
			`{"match":"GET /v1/*","times":10,"fault":"status:503"}`,
			`{"times":6,"fault":"retry-after:1"}`,
		},
		"skyslope": {
			`{"match":"GET /api/files*","times":3,"fault":"truncate"}`,
			`{"match":"GET /api/files*","times":3,"fault":"status:500"}`,
			`{"match":"GET /api/files*","times":2,"fault":"reset"}`,
		},
	} {
		for _, f := range faults {
			if err := b.Control(ctx, http.MethodPost, "/"+vendor+"/faults", f, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
