package world

import (
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
}
