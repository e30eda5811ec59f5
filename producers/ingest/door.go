package ingest

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/fault"
	"conveyance/internal/observe"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

// delivery is one request on its way through the door.
type delivery struct {
	vendor   producers.Vendor
	began    time.Time // our deadline counts from here
	at       time.Time // when it was whole, by the clock of keys and alarms
	body     []byte
	endpoint tenant.Endpoint
	key      string // id of the key that signed
	id       string // of the delivery
	headers  []event.Header
}

// in answers one delivery. The order matters: what is refused before the body is read says nothing of
// any account, and after it only the signature decides.
func (d *Door) in(w http.ResponseWriter, r *http.Request, vendor, token string) {
	v, known := d.vendors[vendor]
	if !known {
		http.NotFound(w, r)
		return
	}
	in := delivery{vendor: v, began: time.Now()}
	if !plainJSON(r.Header) {
		d.answer(w, &in, http.StatusUnsupportedMediaType, "media type")
		return
	}
	body, taken, err := d.read(w, r)
	defer d.reading.give(taken)
	if err != nil {
		d.unread(w, &in, err)
		return
	}
	whole := time.Now()
	in.at, in.body, in.headers = d.cfg.Now(), body, kept(r.Header)
	if reason := d.verify(r, token, &in); reason != "" {
		d.reject(w, r, &in, reason, whole)
		return
	}
	d.accept(w, r, &in)
}

const jsonType = "application/json"

// plainJSON says whether the body is JSON as it stands. A compressed one may be a bomb, and nobody who
// signs raw bytes sends any.
func plainJSON(h http.Header) bool {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return false
	}
	if h.Get("Content-Type") == jsonType { // as most send it
		return true
	}
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (media == jsonType || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
}

// errCrowded means that larger bodies fill the memory that they may have.
var errCrowded = errors.New("too many large bodies at once")

// read reads a body as it comes: memory is taken for what has been sent, not for what was announced.
// The caller gives back what was taken of reading.
func (d *Door) read(w http.ResponseWriter, r *http.Request) (body []byte, taken int64, err error) {
	if r.ContentLength > bodyBytesMax {
		return nil, 0, &http.MaxBytesError{Limit: bodyBytesMax}
	}
	if err := fault.At("ingest.read.before"); err != nil {
		return nil, 0, err
	}
	src := r.Body // net/http ends it at what was announced
	if r.ContentLength < 0 {
		src = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	}
	size := int64(freeBytes)
	if r.ContentLength >= 0 && r.ContentLength < size {
		size = r.ContentLength + 1 // room to see the end
	}
	body = make([]byte, 0, size)
	for {
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, taken, fault.At("ingest.verify.before")
		}
		if err != nil {
			return nil, taken, err
		}
		if len(body) < cap(body) {
			continue
		}
		more := min(2*int64(cap(body)), bodyBytesMax+1)
		if !d.reading.take(more - taken) {
			return nil, taken, errCrowded
		}
		taken = more
		body = append(make([]byte, 0, more), body...)
	}
}

// unread answers what could not be read whole.
func (d *Door) unread(w http.ResponseWriter, in *delivery, err error) {
	w.Header().Set("Connection", "close") // the rest of the body is not waited for
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		d.answer(w, in, http.StatusRequestEntityTooLarge, "too large")
	case errors.Is(err, errCrowded):
		d.busy(w, in, "crowded")
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.answer(w, in, http.StatusRequestTimeout, "slow")
	default: // the client has gone, or what it sent is no HTTP
		d.answer(w, in, http.StatusBadRequest, "broken off")
	}
}

// accept puts a delivery on the bus and answers when it is there, or when its time is over. A client that
// leaves before is waited for like one that stays: what is in flight lands all the same.
func (d *Door) accept(w http.ResponseWriter, r *http.Request, in *delivery) {
	f := &flight{vendor: in.vendor.Name, ended: make(chan error, 1), bytes: int64(len(in.body) + recordBytes/16)} // headers are a few KiB
	sender := context.WithoutCancel(r.Context())
	if fault.Broken("r.Context() into Produce") {
		sender = r.Context()
	}
	switch {
	case fault.Broken("dedupe cache at ingest") && fault.Seen(in.id):
		d.landed(w, in, nil)
		return
	case !d.records.take(1):
		d.busy(w, in, "full")
		return
	case !d.bytes.take(f.bytes):
		d.records.give(1)
		d.busy(w, in, "full")
		return
	}
	d.flying.Add(1)
	if fault.Broken("ack before produce") {
		f.end(nil)
	}
	ctx, cancel := context.WithCancel(sender)
	defer cancel()
	late := func() {
		f.end(errLate)
		cancel()
	}
	timer := time.AfterFunc(deadline(in.vendor)-time.Since(in.began), late)
	defer timer.Stop()
	record := in.record()
	err := fault.At("ingest.produce.before")
	if err == nil {
		err = d.publish.Publish(ctx, recordKey(record), record, func(err error) { d.land(f, err) })
	}
	if err != nil {
		d.land(f, err)
	}
	if fault.At("ingest.ack.before") != nil {
		late()
	}
	if err := <-f.ended; !errors.Is(err, errLate) {
		d.landed(w, in, err)
		return
	}
	if r.Context().Err() == nil { // the sender waits still
		d.away(nil)
	}
	d.busy(w, in, "late")
}

// errLate means that a delivery's time is over and its record in flight.
var errLate = errors.New("no acknowledgement in time")

// flight is a record on its way to Kafka. The waiting for it ends once: with what Kafka says, or late.
type flight struct {
	vendor string
	bytes  int64
	ended  chan error
	over   atomic.Bool
}

// end ends the waiting, and returns false where that is over already.
func (f *flight) end(err error) bool {
	if !f.over.CompareAndSwap(false, true) {
		return false
	}
	f.ended <- err
	return true
}

// land is called once for each flight, whoever waits for it still.
func (d *Door) land(f *flight, err error) {
	d.records.give(1)
	d.bytes.give(f.bytes)
	if err == nil {
		d.back()
	}
	if !f.end(err) {
		d.metrics.landedLate(f.vendor, err)
	}
	d.flying.Done()
}

// landed answers a delivery whose outcome came in time.
func (d *Door) landed(w http.ResponseWriter, in *delivery, err error) {
	if err == nil {
		err = fault.At("ingest.answer.before")
	}
	if err != nil {
		d.away(err)
		d.busy(w, in, "refused")
		return
	}
	d.answer(w, in, http.StatusOK, outcomeAccepted)
	if fault.At("ingest.answer.after") != nil {
		panic(http.ErrAbortHandler) // how net/http breaks the connection: the answer never arrives
	}
}

// deadline is how long a vendor's delivery may take from its first byte here to our answer.
func deadline(v producers.Vendor) time.Duration {
	answer := v.Answer
	if answer == 0 {
		answer = answerDefault
	}
	return min(answer, answerMax) - answerMargin
}

// away notes that Kafka has not acknowledged in time, or not at all; back, that it does again. Each is
// one line in the log, however many deliveries are refused meanwhile.
func (d *Door) away(err error) {
	now := d.cfg.Now()
	if d.awaySince.CompareAndSwap(nil, &now) {
		d.log.Warn("kafka.away", observe.Err(err))
	}
}

func (d *Door) back() {
	if d.awaySince.Load() != nil && d.awaySince.Swap(nil) != nil {
		d.log.Info("kafka.back")
	}
}

func (d *Door) busy(w http.ResponseWriter, in *delivery, reason string) {
	w.Header().Set("Retry-After", retryAfter)
	d.answer(w, in, http.StatusServiceUnavailable, reason)
}

// answer counts why, and answers without a body.
func (d *Door) answer(w http.ResponseWriter, in *delivery, status int, outcome string) {
	d.metrics.answered(in.vendor.Name, outcome, time.Since(in.began))
	w.WriteHeader(status)
}
