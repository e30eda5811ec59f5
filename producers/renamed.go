package producers

import (
	"bytes"
	"encoding/json"
	"slices"

	"conveyance/avro/event"
)

// Renamed returns a snapshot in which the fields that a vendor calls otherwise by now have the names
// that its mapper knows: names is new to old, from the account's settings. It is how a mapping is
// mended on the day of a vendor's rename, until a build knows the new name. A body in which the old
// name still stands keeps both. The snapshot it is given is not changed.
func Renamed(s event.VendorSnapshot, names map[string]string) event.VendorSnapshot {
	if len(names) == 0 {
		return s
	}
	s.Parts = slices.Clone(s.Parts)
	for i := range s.Parts {
		for now, known := range names {
			s.Parts[i].Body = renameKey(s.Parts[i].Body, now, known)
		}
	}
	return s
}

// Aliases are the renamed fields of an account's settings: {"renamed": {"new": "old"}}. Settings
// were checked against the account's schema when they were applied; what does not fit has none.
func Aliases(settings json.RawMessage) map[string]string {
	if !bytes.Contains(settings, []byte(`"renamed"`)) {
		return nil
	}
	var s struct {
		Renamed map[string]string `json:"renamed"`
	}
	if json.Unmarshal(settings, &s) != nil {
		return nil
	}
	return s.Renamed
}

// renameKey writes known in the place of each key now, at every depth. It works on the text, so that
// a body that is no clean JSON stays as the vendor wrote it.
func renameKey(body []byte, now, known string) []byte {
	if len(keysAt(body, known)) > 0 {
		return body
	}
	at := keysAt(body, now)
	if len(at) == 0 {
		return body
	}
	out := make([]byte, 0, len(body)+len(at)*len(known))
	from := 0
	for _, i := range at {
		out = append(append(out, body[from:i]...), known...)
		from = i + len(now)
	}
	return append(out, body[from:]...)
}

// keysAt are the places where a key's text begins: a string that is followed by a colon.
func keysAt(body []byte, key string) []int {
	var at []int
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			continue
		}
		start := i + 1
		for i = start; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				i++
			}
		}
		if i >= len(body) || string(body[start:i]) != key {
			continue
		}
		if rest := bytes.TrimLeft(body[i+1:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			at = append(at, start)
		}
	}
	return at
}
