package judge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"conveyance/internal/sandbox/truth"
)

// Entry is one record of the log.
type Entry struct {
	Topic  string // without prefix
	Part   int32
	Offset int64
	At     time.Time
	Key    string
	ID     string // CloudEvents id; an event's is a UUID
	Value  []byte // read of webhooks only
}

func (e Entry) place() string { return fmt.Sprintf("%s/%d", e.Topic, e.Part) }

// webhooks are the topics of deliveries.
const webhooks = "webhooks."

// history follows what was delivered into the log, and what the log holds into the ledgers.
func (b Bench) history(ctx context.Context, v *Verdict, want truth.Truth) error {
	h, err := b.delivered(ctx)
	if err != nil {
		return err
	}
	books, err := b.books(ctx)
	if err != nil {
		return err
	}
	for e, err := range b.Log {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Topic, webhooks) {
			h.logged(v, e, b.Since)
		}
		for _, k := range books {
			k.follow(v, e)
		}
	}
	h.close(v)
	for _, k := range books {
		k.close(v)
	}
	return b.requests(ctx, v, want)
}

// digest tells bodies apart.
type digest [sha256.Size]byte

// body is a delivery's, as the log's value holds it: JSON from the first brace to the last, since
// nothing that comes before or after it in the record has one.
func body(value []byte) []byte {
	from, to := bytes.IndexByte(value, '{'), bytes.LastIndexByte(value, '}')
	if from < 0 || to < from {
		return nil
	}
	return value[from : to+1]
}

func hexDigest(text string) (d digest) {
	if raw, err := hex.DecodeString(text); err == nil {
		copy(d[:], raw)
	}
	return d
}
