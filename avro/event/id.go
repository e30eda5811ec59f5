package event

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// ID makes an event's id from what never changes about it: the time at which the accepted snapshot
// was read (to the millisecond), tenant, resource, revision, type and natural subject. It is a
// UUIDv8 whose first 48 bits are that time, so that ledgers insert at the right edge of their index
// and partition by month; the rest is SHA-256. No mapped value and no ordinal goes in: a mended
// mapping keeps every id (protocol.md 15).
func ID(readAt time.Time, r Resource, revision int64, t Type, subject string) uuid.UUID {
	h := sha256.New()
	var n [8]byte
	for _, part := range []string{r.Tenant, r.Key(), string(t), subject} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part))) // lengths keep the parts apart
		h.Write(n[:])
		h.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], uint64(revision)) //nolint:gosec // G115: a bit pattern, not a quantity
	h.Write(n[:])
	var id uuid.UUID
	copy(id[:], h.Sum(nil))
	ms := uint64(readAt.UnixMilli()) // 48 bits last until the year 10889
	binary.BigEndian.PutUint64(n[:], ms)
	copy(id[:6], n[2:])
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // RFC 9562 variant
	return id
}

// IDTime returns the time in an id's first 48 bits, UTC.
func IDTime(id uuid.UUID) time.Time {
	var b [8]byte
	copy(b[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))).UTC() //nolint:gosec // G115: 48 bits fit
}
