package producers

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
)

// Record is an object of a vendor's record as read through its contract: types are as its schema
// says. The zero Record has no fields; a missing field and null are the same.
type Record struct{ vendorjson.Value }

// ReadRecord reads a body without a contract; what is no object has no fields.
func ReadRecord(body []byte) Record {
	v, err := vendorjson.Parse(body)
	if err != nil {
		return Record{}
	}
	return Record{v}
}

// Exists says whether the record is an object, if an empty one.
func (r Record) Exists() bool { return r.Kind() == vendorjson.Object }

// Text returns a text or a number as it is written, without space around it.
func (r Record) Text(key string) string {
	switch v := r.Get(key); v.Kind() {
	case vendorjson.String:
		return strings.TrimSpace(v.Text())
	case vendorjson.Number:
		return v.Text()
	default:
		return ""
	}
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

// One returns an object.
func (r Record) One(key string) Record {
	if v := r.Get(key); v.Kind() == vendorjson.Object {
		return Record{v}
	}
	return Record{}
}

// Many yields the objects of an array, or the one object that stands in its place.
func (r Record) Many(key string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		v := r.Get(key)
		if v.Kind() == vendorjson.Object {
			yield(Record{v})
			return
		}
		for _, item := range v.Members() {
			if item.Kind() == vendorjson.Object && !yield(Record{item}) {
				return
			}
		}
	}
}

// Texts returns the texts of an array that are not empty.
func (r Record) Texts(key string) []string {
	v := r.Get(key)
	if v.Kind() != vendorjson.Array {
		return nil
	}
	var out []string
	for _, item := range v.Members() {
		if text := strings.TrimSpace(item.Text()); item.Kind() == vendorjson.String && text != "" {
			out = append(out, text)
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

func checkDate(text string) error {
	_, err := parseDate(text)
	return err
}

// between holds a number, or a text that is one, between two ends, in hundredths.
func between(low, high int64) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		n, err := ParseDecimal(text, 2)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("outside %d to %d", low/100, high/100)
		}
		return err
	}
}
