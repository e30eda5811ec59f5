package budget

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHeadersAreReadAsEachVendorWritesThem(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		bucket string
		status int
		header map[string]string
		want   word
	}{
		"Follow Up Boss": {
			status: 200,
			header: map[string]string{"X-RateLimit-Limit": "125", "X-RateLimit-Remaining": "124", "X-RateLimit-Window": "10", "X-RateLimit-Context": "global"},
			want:   word{calls: 125, window: 10 * time.Second},
		},
		"Follow Up Boss, another context": {
			status: 200, header: map[string]string{"X-RateLimit-Limit": "25", "X-RateLimit-Window": "10", "X-RateLimit-Context": "people.put"},
		},
		"Follow Up Boss, that context's bucket": {
			bucket: "people.put", status: 429,
			header: map[string]string{"X-RateLimit-Limit": "25", "X-RateLimit-Window": "10", "X-RateLimit-Context": "people.put", "Retry-After": "4"},
			want:   word{calls: 25, window: 10 * time.Second, closed: 4 * time.Second},
		},
		"DocuSign": {
			status: 200, header: map[string]string{"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "2999", "X-RateLimit-Reset": "1767272400"},
			want: word{calls: 3000},
		},
		"DocuSign, nothing left of the hour": {
			status: 400, header: map[string]string{"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767270000"},
			want: word{calls: 3000, closed: 20 * time.Minute},
		},
		"a reset that is past": {
			status: 200, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767268799"}, want: word{closed: spentFor},
		},
		"a reset in milliseconds since 1970": {
			status: 200, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767270000000"}, want: word{closed: spentFor},
		},
		"dotloop": {
			status: 429, header: map[string]string{"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4500"},
			want: word{calls: 100, closed: LimitedFor},
		},
		"SkySlope, nothing left": {
			status: 200, header: map[string]string{"x-ratelimit-remaining": "0"}, want: word{closed: spentFor},
		},
		"structured": {status: 200, header: map[string]string{"X-RateLimit-Limit": "100, 100;w=60"}, want: word{calls: 100}},
		"junk": {
			status: 200,
			header: map[string]string{"X-RateLimit-Limit": "-5", "X-RateLimit-Window": "ten", "X-RateLimit-Remaining": "", "Retry-After": "9"},
		},
		"absurd": {
			status: 200, header: map[string]string{"X-RateLimit-Limit": "999999999", "X-RateLimit-Window": "999999999"},
			want: word{calls: callsMax, window: windowMax},
		},
		"overflow": {status: 200, header: map[string]string{"X-RateLimit-Limit": "99999999999999999999"}},
		"date":     {status: 429, header: map[string]string{"Retry-After": "Thu, 01 Jan 2026 12:00:20 GMT"}, want: word{closed: 20 * time.Second}},
		"date on a clock an hour slow": {
			status: 429, header: map[string]string{"Date": "Thu, 01 Jan 2026 11:00:00 GMT", "Retry-After": "Thu, 01 Jan 2026 11:00:20 GMT"},
			want: word{closed: 20 * time.Second},
		},
		"reset on a clock an hour fast": {
			status: 200, want: word{closed: 10 * time.Minute},
			header: map[string]string{"Date": "Thu, 01 Jan 2026 13:00:00 GMT", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767273000"},
		},
		"date that is past": {status: 429, header: map[string]string{"Retry-After": "Thu, 01 Jan 2026 11:59:00 GMT"}, want: word{closed: spentFor}},
		"silent":            {status: 429, want: word{closed: LimitedFor}},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		require.Equal(t, tt.want, read(tt.bucket, tt.status, h, now), name)
	}
}

func TestBurstIsReadBesideTheHour(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limit, remaining string
		want             word
	}{
		"some left":    {"500", "499", word{calls: 500}},
		"nothing left": {"200", "0", word{calls: 200, closed: spentFor}},
		"none":         {"", "", word{}},
		"junk":         {"-1", "x", word{}},
	} {
		h := http.Header{}
		h.Set("X-BurstLimit-Limit", tt.limit)
		h.Set("X-BurstLimit-Remaining", tt.remaining)
		h.Set("X-RateLimit-Limit", "3000")
		require.Equal(t, tt.want, readBurst(h), name)
	}
}

func TestQuotaOfEachVendorHasTheProtocolsHorizon(t *testing.T) {
	t.Parallel()
	require.Equal(t, 12*time.Second, Quota{250, 10 * time.Second}.horizon())
	require.Equal(t, 66*time.Second, Quota{100, 60 * time.Second}.horizon())
	require.Equal(t, 225, Quota{250, 10 * time.Second}.usable())
	require.Equal(t, 1, Quota{1, time.Second}.usable())
}

func FuzzHeadersOfAVendor(f *testing.F) {
	f.Add("250", "10", "3", "global", "5", "0", 429)
	f.Add("-1", "1e9", "0", "x", "Thu, 01 Jan 2026 12:00:20 GMT", "1767270000", 200)
	f.Fuzz(func(t *testing.T, limit, window, remaining, scope, after, reset string, status int) {
		h := http.Header{
			"X-Ratelimit-Limit": {limit}, "X-Ratelimit-Window": {window}, "X-Ratelimit-Remaining": {remaining},
			"X-Ratelimit-Context": {scope}, "Retry-After": {after}, "X-Ratelimit-Reset": {reset},
			"X-Burstlimit-Limit": {limit}, "X-Burstlimit-Remaining": {remaining},
		}
		burst := readBurst(h)
		require.True(t, burst.calls >= 0 && burst.calls <= callsMax && burst.closed <= spentFor)
		w := read("", status, h, time.Now())
		require.True(t, w.calls >= 0 && w.calls <= callsMax)
		require.True(t, w.window >= 0 && w.window <= windowMax)
		require.True(t, w.closed >= 0 && w.closed <= retryAfterMax)
	})
}
