package observe

import (
	"fmt"
	"io"
	"strings"
)

// PII is personal data that must never be read in a log, a trace, an error or JSON. However it is
// printed, alone or inside other values, it shows what kind of thing it is and no character of it.
// The zero PII is empty.
type PII struct{ value *string } // a pointer, so that fmt finds nothing where it cannot call a method

// Personal marks a value.
func Personal(value string) PII { return PII{&value} }

// Reveal is the value itself, for who needs it.
func (p PII) Reveal() string {
	if p.value == nil {
		return ""
	}
	return *p.value
}

// String is the mask.
func (p PII) String() string {
	switch v := p.Reveal(); {
	case v == "":
		return ""
	case strings.ContainsRune(v, '@'):
		return "[e-mail]"
	case strings.Trim(v, "+()-. 0123456789") == "":
		return "[number]"
	}
	return "[personal]"
}

// Format keeps every verb of fmt to the mask.
func (p PII) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, p.String()) }

// MarshalText keeps encoders, zap's among them, to the mask.
func (p PII) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
