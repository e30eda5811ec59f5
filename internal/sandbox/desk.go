package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"

	"conveyance/internal/sandbox/fault"
	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// hangMax is how long a hung request is held at most, so that a forgotten fault frees its callers.
const hangMax = 10 * time.Minute

// clockWait is what a vendor with a wrong clock asks for.
const clockWait = 2 * time.Second

// desk is where a vendor's requests arrive: each is written down, a fault may strike it, and what
// the vendor answers is dressed with the vendor's quirks.
type desk struct {
	world.Vendor
	journal *journal
	faults  fault.Book
	clock   func() time.Time
	closing <-chan struct{}
	late    *sync.WaitGroup
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, reply.BodyBytesMax))
	if err != nil {
		d.Refuse(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	caller, sum := d.Caller(r), sha256.Sum256(body)
	effect, _ := d.faults.Pick(caller, r)
	q := Request{
		At: d.clock().UTC(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Key: idempotencyKey(r), BodySHA256: hex.EncodeToString(sum[:]), Fault: string(effect.Kind), caller: caller,
	}
	if caller.Tenant != "" {
		q.Account = caller.Short()
	}
	n, err := d.journal.received(q)
	if err != nil {
		d.Refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if status, refused := d.refuse(w, r, effect); refused {
		d.journal.answered(n, status, "")
		return
	}
	ctx, remark := world.WithRemark(r.Context())
	status := d.carryOut(w, r.WithContext(ctx), effect)
	d.journal.answered(n, status, *remark)
}

// refuse answers for a vendor that does not do what it was asked, or not now.
func (d *desk) refuse(w http.ResponseWriter, r *http.Request, e fault.Effect) (status int, refused bool) {
	switch e.Kind {
	case fault.Status:
		d.Refuse(w, e.Code, "a fault of the sandbox")
		return e.Code, true
	case fault.RetryAfter:
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(e.Wait.Seconds()), 'f', 0, 64))
		d.Refuse(w, http.StatusTooManyRequests, "a fault of the sandbox")
		return http.StatusTooManyRequests, true
	case fault.Clock:
		now := d.clock().Add(e.Wait).UTC()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		w.Header().Set("Retry-After", now.Add(clockWait).Format(http.TimeFormat))
		d.Refuse(w, http.StatusTooManyRequests, "a fault of the sandbox")
		return http.StatusTooManyRequests, true
	case fault.Unauthorized:
		d.Refuse(w, http.StatusUnauthorized, "the credential is not valid")
		return http.StatusUnauthorized, true
	case fault.HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>")
		return http.StatusOK, true
	case fault.Redirect:
		w.Header().Set("Location", e.URL)
		w.WriteHeader(http.StatusMovedPermanently)
		return http.StatusMovedPermanently, true
	case fault.Huge:
		huge(w)
		return http.StatusOK, true
	case fault.Hang:
		d.wait(r.Context(), hangMax)
		breakOff(w, nil)
		return 0, true
	case fault.Late:
		d.doLater(r, e.Wait)
		d.Refuse(w, http.StatusGatewayTimeout, "the request timed out")
		return http.StatusGatewayTimeout, true
	default:
		return 0, false
	}
}

// carryOut lets the vendor do what it was asked, and spoils the answer where a fault says so. It
// returns the status that went out.
func (d *desk) carryOut(w http.ResponseWriter, r *http.Request, e fault.Effect) int {
	switch e.Kind {
	case fault.Slow:
		d.wait(r.Context(), e.Wait)
	case fault.Newer:
		d.change(r)
	case fault.Stale:
		r = r.WithContext(records.Stale(r.Context()))
	default:
	}
	a := &answer{header: w.Header()}
	d.Handler.ServeHTTP(a, r)
	body := e.Spoil(a.body.Bytes())
	if d.Dress != nil && len(body) > 0 {
		body = d.Dress(body)
	}
	switch e.Kind {
	case fault.Reset:
		breakOff(w, func(out io.Writer) { a.writeRaw(out, len(body), body[:len(body)/2]) })
		return 0
	case fault.Truncate:
		body = body[:len(body)/2]
	default:
	}
	if status := a.code(); status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.code())
	_, _ = w.Write(body) // the caller hung up: nobody to tell
	return a.code()
}

// doLater carries a request out after its caller was told that it had timed out. A sandbox that
// closes does it at once: the vendor had taken the request.
func (d *desk) doLater(r *http.Request, after time.Duration) {
	ctx := context.WithoutCancel(r.Context())
	r = r.Clone(ctx)
	d.late.Go(func() {
		d.wait(ctx, after)
		d.Handler.ServeHTTP(&answer{header: http.Header{}}, r)
	})
}

// change touches what a request asks about: the record that its path names, or, of a list, the one that
// changed last. What the vendor answers is then newer than whatever led to the request.
func (d *desk) change(r *http.Request) {
	a, id := d.Caller(r), path.Base(r.URL.Path)
	var kind string
	var last records.Record
	for _, k := range d.Kinds {
		for _, rec := range d.journal.store.Now().List(a.Key(), k) {
			switch {
			case !rec.Exists():
			case rec.ID == id:
				_, _ = d.Put(a, k, id, map[string]any{}) // a closed sandbox changes nothing
				return
			case rec.Modified.After(last.Modified):
				kind, last = k, rec
			}
		}
	}
	if kind != "" {
		_, _ = d.Put(a, kind, last.ID, map[string]any{})
	}
}

func (d *desk) wait(ctx context.Context, long time.Duration) {
	t := time.NewTimer(long)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-d.closing:
	}
}
