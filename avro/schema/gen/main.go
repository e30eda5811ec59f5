// Command gen makes two things from avro/schema/*.avsc: the self-contained texts in
// schema/registered that are embedded and registered, and the Go structs of avro/event.
//
// The sources share records by name (Deal, Contact, Origin); a registered text has each shared
// record written out where it is first used, so that a reader of any language needs one schema.
// The events are the records that no other record uses. A text that breaks the lint is not written.
// Run it with go generate ./avro/event.
package main

import (
	"errors"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"

	"conveyance/avro/schema"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gen <schema folder> <go file>")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(folder, goFile string) error {
	set, err := load(folder)
	if err != nil {
		return err
	}
	for _, name := range set.events() {
		text, err := set.inline(name)
		if err != nil {
			return fmt.Errorf("inlining %s: %w", name, err)
		}
		var broken error
		for _, p := range schema.Lint(string(text)) {
			broken = errors.Join(broken, fmt.Errorf("%s: %s", name, p))
		}
		if broken != nil {
			return broken
		}
		file := filepath.Join(folder, "registered", snake(name)+".avsc")
		if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // G306: schemas are public
			return err
		}
	}
	src, err := format.Source(set.source())
	if err != nil {
		return fmt.Errorf("formatting the structs: %w", err)
	}
	return os.WriteFile(goFile, src, 0o644) //nolint:gosec // G306: generated source is public
}
