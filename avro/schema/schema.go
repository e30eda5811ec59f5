// Package schema holds the Avro schemas of every event, self-contained and embedded: the texts
// that are registered, and that serve when the registry is away. It reads nothing at run time and
// imports nothing of ours.
package schema

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed registered/*.avsc
var registered embed.FS

// Namespace of every record; with the type it is the record's full name and the ce_type.
const Namespace = "conveyance.event"

// The kinds of personal data that a field's pii property names.
const (
	PIIName    = "name"
	PIIEmail   = "email"
	PIIPhone   = "phone"
	PIIAddress = "address" // also what names a property, which names its owner
	PIIText    = "text"    // free text that a person wrote
	PIIRaw     = "raw"     // bytes as a vendor sent them
)

// PII returns the kinds of personal data.
func PII() []string {
	return []string{PIIName, PIIEmail, PIIPhone, PIIAddress, PIIText, PIIRaw}
}

// All returns the registered text of every event type, by record name without namespace.
// The texts keep docs, defaults and the pii property: register these, never a parsed schema.
func All() map[string]string {
	texts := map[string]string{}
	files, err := fs.Glob(registered, "registered/*.avsc")
	if err != nil {
		panic(fmt.Sprintf("listing embedded schemas: %v", err)) // the pattern is a constant
	}
	for _, file := range files {
		text, err := registered.ReadFile(file)
		if err != nil {
			panic(fmt.Sprintf("reading embedded %s: %v", file, err)) // it was listed a line ago
		}
		texts[camel(strings.TrimSuffix(path.Base(file), ".avsc"))] = string(text)
	}
	return texts
}

func camel(snake string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(snake, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
