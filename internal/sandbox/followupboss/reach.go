package followupboss

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
)

// phoneDigits is how many trailing digits make two phone numbers the same.
const phoneDigits = 10

// reachable reads a list of e-mails or phones: each has a value; the first is the primary one.
func reachable(given any) ([]any, error) {
	list, ok := given.([]any)
	if !ok {
		return nil, errors.New("a list of objects with a value is wanted")
	}
	out := make([]any, 0, len(list))
	for i, item := range list {
		m, _ := item.(map[string]any)
		value, _ := m["value"].(string)
		if value == "" {
			return nil, errors.New("an item has no value")
		}
		entry := map[string]any{"value": value, "type": "home", "status": "Not Validated"}
		if typ, ok := m["type"].(string); ok {
			entry["type"] = typ
		}
		entry["isPrimary"] = json.Number("0") // as it is read back, so that the same again is no change
		if i == 0 {
			entry["isPrimary"] = json.Number("1")
		}
		out = append(out, entry)
	}
	return out, nil
}

func emails(p map[string]any) []string { return values(p["emails"], email) }

func phones(p map[string]any) []string { return values(p["phones"], phone) }

func values(list any, normal func(string) string) []string {
	items, _ := list.([]any)
	var out []string
	for _, item := range items {
		m, _ := item.(map[string]any)
		if v, _ := m["value"].(string); normal(v) != "" {
			out = append(out, normal(v))
		}
	}
	return out
}

func email(text string) string { return strings.ToLower(strings.TrimSpace(text)) }

func phone(text string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	return digits[max(0, len(digits)-phoneDigits):]
}

// gain adds the e-mails and phones of a duplicate to the person that was there.
func gain(old, dup map[string]any, at time.Time) map[string]any {
	patch := map[string]any{}
	for field, normal := range map[string]func(string) string{"emails": email, "phones": phone} {
		have := values(old[field], normal)
		list, _ := old[field].([]any)
		list = slices.Clone(list)
		more, _ := dup[field].([]any)
		for _, item := range more {
			m, _ := item.(map[string]any)
			if v, _ := m["value"].(string); !slices.Contains(have, normal(v)) {
				entry := records.Merge(m, map[string]any{"isPrimary": json.Number("0")})
				list, have = append(list, entry), append(have, normal(v))
			}
		}
		if before, _ := old[field].([]any); len(list) > len(before) {
			patch[field] = list
		}
	}
	return touched(old, records.Merge(old, patch), at)
}

// split gives first and last name to what is sent with a full name only.
func split(body map[string]any) {
	full, ok := body["name"].(string)
	if ok && body["firstName"] == nil && body["lastName"] == nil {
		body["firstName"], body["lastName"], _ = strings.Cut(strings.TrimSpace(full), " ")
	}
}

// named gives a person its full name.
func named(p map[string]any) map[string]any {
	first, _ := p["firstName"].(string)
	last, _ := p["lastName"].(string)
	p["name"] = strings.TrimSpace(first + " " + last)
	return p
}

// union is the tags of both lists, without repeats.
func union(have any, more []any) []any {
	list, _ := have.([]any)
	out := slices.Clone(list)
	for _, t := range more {
		if !slices.ContainsFunc(out, func(x any) bool { return fmt.Sprint(x) == fmt.Sprint(t) }) {
			out = append(out, t)
		}
	}
	return out
}
