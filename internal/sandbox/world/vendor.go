package world

import (
	"context"
	"net/http"
	"time"

	"conveyance/internal/sandbox/records"
)

// Base is what a vendor is made of.
type Base struct {
	Tenants []Tenant
	Records *records.Store
	Clock   func() time.Time
	// TimeScale is how many times faster than ours a vendor's time passes: sessions end, quotas'
	// windows slide (never in less than a second, and their headers say how long they are).
	TimeScale float64
	// StrictDedupe closes the gap between looking for a duplicate and making a record. Without it
	// two requests at one moment make two records, as no vendor promises otherwise.
	StrictDedupe bool
	// WebhookRetry is how long a webhook that was not taken waits for its next try, in our time; 0 =
	// as the vendor's documentation says, scaled.
	WebhookRetry time.Duration
	// AutoConsent says that whoever is asked for consent gives it at once.
	AutoConsent bool
	// Strike is what a fault does to a webhook of an account that is about to be sent.
	Strike func(a Account, event string) Strike
}

// Strike is what goes wrong with a webhook; the zero value is nothing.
type Strike struct {
	Copies int           // sent so many times more
	Behind bool          // sent behind the one that follows it, if one does soon
	After  time.Duration // sent so much later, while others go on
}

// Scaled is how long a vendor's time takes in ours.
func (b Base) Scaled(d time.Duration) time.Duration {
	if b.TimeScale <= 0 {
		return d
	}
	return time.Duration(float64(d) / b.TimeScale)
}

// Window is how long a quota's window takes in ours: whole seconds, as its headers write it.
func (b Base) Window(d time.Duration) time.Duration {
	return max(time.Second, b.Scaled(d).Round(time.Second))
}

// Vendor is what a simulated vendor's folder offers. All of it is safe for concurrent use.
type Vendor struct {
	Name    string
	Handler http.Handler // the vendor's own paths, without its name in front
	// Caller is whose credential a request carries, valid or not any more; the zero account where
	// it carries none that is known.
	Caller func(*http.Request) Account
	// Refuse answers with the vendor's own error.
	Refuse func(w http.ResponseWriter, status int, why string)
	// Dress gives an answer's clean JSON the vendor's quirks; nil for none.
	Dress func(body []byte) []byte
	// Kinds are the records that control calls may read and write.
	Kinds []string
	// Put merges a patch into a record, or makes it; the vendor's modified time moves.
	Put func(a Account, kind, id string, patch map[string]any) (records.Record, error)
	// Control are control calls of the vendor's own, by method and the path below the vendor's name:
	// "GET deliveries". Nil for none.
	Control map[string]http.HandlerFunc
	// Run does what the vendor does by itself until ctx ends, and leaves no goroutine behind; nil for
	// nothing.
	Run func(ctx context.Context)
}

// OverQuota is the remark on a request that was refused since the account's quota was used up.
const OverQuota = "over quota"

type remarkKey struct{}

// WithRemark returns a context in which a handler may remark on its request, and where the remark
// will stand when it has answered.
func WithRemark(ctx context.Context) (context.Context, *string) {
	remark := new(string)
	return context.WithValue(ctx, remarkKey{}, remark), remark
}

// Remark writes a word about the request into the journal.
func Remark(ctx context.Context, word string) {
	if remark, ok := ctx.Value(remarkKey{}).(*string); ok {
		*remark = word
	}
}
