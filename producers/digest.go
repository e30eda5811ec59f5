package producers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
)

// Digest is SHA-256 in hex over a snapshot's parts: their names, statuses and bodies. A body that is
// JSON counts in canonical form, so that the order of its keys, its white space, a byte order mark
// and control characters change nothing; any other body counts byte for byte. ignore names fields at
// the top of bodies that say nothing of the record. When a part was read does not count.
func Digest(parts []event.Part, ignore ...string) string {
	h := sha256.New()
	var n [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b))) // lengths keep the pieces apart
		h.Write(n[:])
		h.Write(b)
	}
	for _, p := range parts {
		write([]byte(p.Name))
		binary.BigEndian.PutUint64(n[:], uint64(p.Status)) //nolint:gosec // G115: a bit pattern
		h.Write(n[:])
		write(canonical(p.Body, ignore))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func canonical(body []byte, ignore []string) []byte {
	v, err := vendorjson.Parse(body)
	if err != nil {
		return body
	}
	defer v.Free()
	return vendorjson.Canonical(make([]byte, 0, len(body)), v, ignore...)
}
