package judge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Sent is a delivery that the lab made itself.
type Sent struct {
	Account string // tenant/vendor/account: whose key signed, and whose door it went to
	Body    []byte
	Status  int // 0 = no answer
	// Due says that its sender waited, and that the bus could take it in time.
	Due bool
}

// accepted and refused are the answers that bind the bus; all others leave the outcome open.
func (s Sent) accepted() bool {
	return s.Status >= http.StatusOK && s.Status < http.StatusMultipleChoices
}

func (s Sent) refused() bool {
	return s.Status >= http.StatusBadRequest && s.Status < http.StatusInternalServerError
}

// delivery is what a simulated vendor remembers of one of its own.
type delivery struct {
	N          int64  `json:"n"`
	Account    string `json:"account"` // tenant/account
	Envelope   string `json:"envelope"`
	URL        string `json:"url"`
	Status     string `json:"status"`
	Attempts   int    `json:"attempts"`
	BodySHA256 string `json:"body_sha256"` // of the last attempt
}

// deliverer is the simulated vendor that has webhooks.
const deliverer = "docusign"

// hint is one delivery on its way into the log.
type hint struct {
	account string // tenant/vendor/account
	what    string
	sent    *Sent
	taken   bool // answered with 2xx
	found   bool
}

// hints are all deliveries, by their bodies; records are what each vendor's earlier attempts may have
// left in the log, by the record that they name.
type hints struct {
	byBody  map[digest]*hint
	records map[string]string // account by envelope, where there were several attempts
	all     bool              // the vendor remembers all that it delivered
}

func (b Bench) delivered(ctx context.Context) (*hints, error) {
	h := &hints{byBody: map[digest]*hint{}, records: map[string]string{}, all: true}
	var all []delivery
	if err := b.get(ctx, "/_control/"+deliverer+"/deliveries", &all); err != nil {
		return nil, err
	}
	for i, d := range all {
		h.all = h.all && (i > 0 || d.N == 1)
		tenant, name, _ := strings.Cut(d.Account, "/")
		account := tenant + "/" + deliverer + "/" + name
		if d.Attempts > 1 || d.Status == "retrying" || d.Status == "waiting" {
			h.records[d.Envelope] = account
		}
		if strings.Contains(d.URL, "/in/"+deliverer+"/") && d.BodySHA256 != "" {
			h.byBody[hexDigest(d.BodySHA256)] = &hint{
				account: account, what: fmt.Sprintf("delivery %d of %s about envelope %s", d.N, account, d.Envelope),
				taken: d.Status == "sent",
			}
		}
	}
	for i, s := range b.Sent {
		at := digest(sha256.Sum256(s.Body))
		was := h.byBody[at]
		if was == nil {
			was = &hint{account: s.Account, what: fmt.Sprintf("delivery %d of the lab as %s", i, s.Account), sent: &b.Sent[i]}
			h.byBody[at] = was
		}
		was.taken = was.taken || s.accepted()
		if s.accepted() || was.sent == nil {
			was.sent = &b.Sent[i]
		}
	}
	return h, nil
}

// logged finds the delivery of a record.
func (h *hints) logged(v *Verdict, e Entry, since time.Time) {
	text := body(e.Value)
	d := h.byBody[sha256.Sum256(text)]
	switch {
	case d != nil && d.sent != nil && d.sent.refused() && !d.taken:
		v.Phantom = append(v.Phantom, fmt.Sprintf("%s was refused with %d, and is in the log", d.what, d.sent.Status))
	case d != nil:
		d.found = true
		if !strings.HasPrefix(e.Key, d.account+"/") {
			v.Crossed = append(v.Crossed, fmt.Sprintf("%s is in the log as %s", d.what, e.Key))
		}
	case !h.all || e.At.Before(since) || h.attempt(text):
	default:
		v.Phantom = append(v.Phantom, fmt.Sprintf("%s at %d holds a delivery that nobody made: %s", e.place(), e.Offset, e.Key))
	}
}

// attempt says whether a body may be of an earlier attempt, whose answer was lost.
func (h *hints) attempt(text []byte) bool {
	for record := range h.records {
		if bytes.Contains(text, []byte(record)) {
			return true
		}
	}
	return false
}

func (h *hints) close(v *Verdict) {
	for _, d := range h.byBody {
		switch {
		case d.taken && !d.found:
			v.Lost = append(v.Lost, d.what+" was answered with 2xx, and is not in the log")
		case d.sent != nil && d.sent.Due && !d.taken:
			v.Lost = append(v.Lost, fmt.Sprintf("%s was answered with %d, though the bus could take it", d.what, d.sent.Status))
		}
	}
}
