// Package avsc is an Avro schema as its JSON writes it, strictly: a property that the contract does
// not know is refused, so that a misspelt doc or pii is not lost without a word. It resolves no
// names and reads no data; the generator and the lint are its users.
package avsc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Type is a type where it is used: exactly one of Name, Union and Obj is set.
type Type struct {
	Name  string // of a primitive, or of a type that stands elsewhere
	Union []Type
	Obj   *Object
}

// Object is a type that is written out: a record, an enum, an array, or a primitive with a logical
// type.
type Object struct {
	Type        json.RawMessage `json:"type"`
	Name        string          `json:"name,omitempty"`
	Namespace   string          `json:"namespace,omitempty"`
	LogicalType string          `json:"logicalType,omitempty"`
	Doc         string          `json:"doc,omitempty"`
	Fields      []Field         `json:"fields,omitempty"`
	Items       *Type           `json:"items,omitempty"`
	Symbols     []string        `json:"symbols,omitempty"`
	Default     json.RawMessage `json:"default,omitempty"`
}

// Field is a field of a record.
type Field struct {
	Name    string          `json:"name"`
	Type    Type            `json:"type"`
	Default json.RawMessage `json:"default,omitempty"`
	Doc     string          `json:"doc,omitempty"`
	PII     string          `json:"pii,omitempty"` // kind of personal data; empty = none
}

// Parse reads one schema and nothing after it.
func Parse(text []byte) (Type, error) {
	var t Type
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&t); err != nil {
		return t, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return t, fmt.Errorf("text goes on after the schema at byte %d", dec.InputOffset())
	}
	return t, nil
}

// UnmarshalJSON reads a name, a union or an object.
func (t *Type) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, &t.Name)
	case '[':
		return json.Unmarshal(b, &t.Union)
	default:
		t.Obj = new(Object)
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		return dec.Decode(t.Obj)
	}
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (t Type) MarshalJSON() ([]byte, error) {
	switch {
	case t.Obj != nil:
		return json.Marshal(t.Obj)
	case t.Union != nil:
		return json.Marshal(t.Union)
	default:
		return json.Marshal(t.Name)
	}
}

// Kind is the type that an object is: record, enum, array, or a primitive's name.
func (o *Object) Kind() string { return strings.Trim(string(o.Type), `"`) }
