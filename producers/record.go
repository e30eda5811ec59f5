package producers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"conveyance/avro/event"
)

// Record is a vendor's record as read through its contract: types are as its schema says. Its
// methods treat a missing field and null alike.
type Record map[string]any

// Text returns a text or a number as it is written, without space around it.
func (r Record) Text(key string) string {
	switch v := r[key].(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	}
	return ""
}

// First returns the first text that is not empty: vendors' older and newer names of a field.
func (r Record) First(keys ...string) string {
	for _, k := range keys {
		if text := r.Text(k); text != "" {
			return text
		}
	}
	return ""
}

// One returns an object, nil where there is none.
func (r Record) One(key string) Record {
	o, _ := r[key].(map[string]any)
	return o
}

// Many returns the objects of an array, or the one object that stands in its place.
func (r Record) Many(key string) []Record {
	if one := r.One(key); one != nil {
		return []Record{one}
	}
	list, _ := r[key].([]any)
	out := make([]Record, 0, len(list))
	for _, item := range list {
		if o, ok := item.(map[string]any); ok {
			out = append(out, o)
		}
	}
	return out
}

// Texts returns the texts of an array that are not empty.
func (r Record) Texts(key string) []string {
	list, _ := r[key].([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok && strings.TrimSpace(s) != "" {
			out = append(out, strings.TrimSpace(s))
		}
	}
	return out
}

// Dollars returns the amount of the first key that has one, nil where none has. The contract has
// checked it: keys need the format amount or signed-amount.
func (r Record) Dollars(keys ...string) *event.Money {
	text := r.First(keys...)
	if text == "" {
		return nil
	}
	minor, err := ParseDecimal(text, 2)
	if err != nil {
		return nil
	}
	return &event.Money{Currency: "USD", Minor: minor}
}

// BasisPoints returns a percentage in hundredths of a percent, nil where there is none. Its key
// needs the format percentage.
func (r Record) BasisPoints(key string) *int32 {
	text := r.Text(key)
	if text == "" {
		return nil
	}
	n, err := ParseDecimal(text, 2)
	if err != nil || n < 0 || n > wholeBasisPoints {
		return nil
	}
	points := int32(n)
	return &points
}

// Date returns a calendar date as midnight UTC: the day as it is written, whatever the time behind
// it, since vendors that write no zone mean a day. Nil where there is none. Its key needs the format
// vendor-date.
func (r Record) Date(key string) *time.Time {
	at, err := parseDate(r.Text(key))
	if err != nil || at.IsZero() {
		return nil
	}
	day := at.Truncate(24 * time.Hour)
	return &day
}

// Time returns an instant, UTC where it has no zone. Nil where there is none. The key needs the
// format date.
func (r Record) Time(key string) *time.Time {
	at, err := parseDate(r.Text(key))
	if err != nil || at.IsZero() {
		return nil
	}
	at = at.Truncate(time.Millisecond)
	return &at
}

var errDate = errors.New("is no date")

// parseDate reads a date, with or without time, with or without zone (then it is UTC). Nothing, and
// any date of year 1 (how a .NET program writes that it has none), is the zero time.
func parseDate(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range [...]string{"2006-01-02T15:04:05", time.RFC3339, time.DateOnly} { // fractions are read with any
		if at, err := time.Parse(layout, text); err == nil {
			if at.Year() <= 1 {
				return time.Time{}, nil
			}
			return at.UTC(), nil
		}
	}
	return time.Time{}, errDate
}

func checkDate(v any) error {
	text, ok := v.(string)
	if !ok {
		return nil // its type is not the format's business
	}
	_, err := parseDate(strings.TrimSpace(text))
	return err
}

// checkNumber holds a number, or a text that is one, between two ends, in hundredths.
func checkNumber(v any, low, high int64) error {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	}
	if text == "" {
		return nil
	}
	n, err := ParseDecimal(text, 2)
	if err != nil {
		return err
	}
	if n < low || n > high {
		return fmt.Errorf("outside %d to %d", low/100, high/100)
	}
	return nil
}
