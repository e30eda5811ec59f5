package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"conveyance/avro/event"
)

// keyBytesMax is the longest record key that is a key id as it stands: longer ones do not fit an
// index, and are named by their digest.
const keyBytesMax = 255

// header is the first header of a name, and whether there is one.
func header(r *Record, name string) ([]byte, bool) {
	for _, h := range r.Headers {
		if h.Key == name {
			return h.Value, true
		}
	}
	return nil, false
}

// keyID names a record's key in the tables. A record without a key has an order with nobody.
func keyID(r *Record) string {
	switch k := string(r.Key); {
	case k == "":
		return fmt.Sprintf("#%d/%d", r.Partition, r.Offset)
	case len(k) > keyBytesMax || !utf8.ValidString(k) || strings.ContainsRune(k, 0):
		sum := sha256.Sum256(r.Key)
		return "sha256:" + hex.EncodeToString(sum[:])
	default:
		return k
	}
}

// tenantOf is whose record it is; empty where neither message nor key says so.
func tenantOf(r *Record) string {
	switch m := r.Message.(type) {
	case event.Event:
		return m.Source().Resource.Tenant
	case *event.VendorSnapshot:
		return m.Resource.Tenant
	case *event.WebhookReceived:
		return m.Tenant
	}
	if res, err := event.ParseKey(string(r.Key)); err == nil {
		return res.Tenant
	}
	return ""
}

// eventID is the id under which the ledger knows a record's effects: the event's own, else one made
// of its place.
func eventID(r *Record) (uuid.UUID, error) {
	if e, ok := r.Message.(event.Event); ok {
		id, err := uuid.Parse(e.Source().EventID)
		if err != nil {
			return id, fmt.Errorf("reading event id %q: %w", e.Source().EventID, err)
		}
		return id, nil
	}
	at := event.Resource{Kind: r.Topic, ID: strconv.Itoa(int(r.Partition))}
	return event.ID(r.Time, at, r.Offset, "", ""), nil
}
