package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// backward is the level where none was chosen, as Confluent's is.
const backward = "BACKWARD"

// A level is a direction and how far back it looks:
//
//	BACKWARD  the new schema reads what the old one wrote
//	FORWARD   the old schema reads what the new one wrote
//	FULL      both
//
// against the latest version, or with _TRANSITIVE against every one.
const transitive = "_TRANSITIVE"

var levels = []string{
	"NONE", backward, backward + transitive, "FORWARD", "FORWARD" + transitive, "FULL", "FULL" + transitive,
}

// levelOf is a subject's own level, else the one for all.
func (s *state) levelOf(name string) string {
	return cmp.Or(s.Levels[name], s.Levels[""], backward)
}

// judge holds a schema against versions and returns a message for each direction that breaks.
// Versions that a level does not look at are the caller's to leave out.
func (s *state) judge(next *avro.Schema, against versions, level string) ([]string, error) {
	var messages []string
	for _, v := range against {
		old, err := s.parse(s.Schemas[v.ID])
		if err != nil {
			return nil, fmt.Errorf("reading version %d: %w", v.Number, err)
		}
		if strings.HasPrefix(level, "BACKWARD") || strings.HasPrefix(level, "FULL") {
			if err := avro.CheckCompatibility(old, next); err != nil {
				messages = append(messages, breaks(level, "the new schema", fmt.Sprintf("version %d", v.Number), err))
			}
		}
		if strings.HasPrefix(level, "FORWARD") || strings.HasPrefix(level, "FULL") {
			if err := avro.CheckCompatibility(next, old); err != nil {
				messages = append(messages, breaks(level, fmt.Sprintf("version %d", v.Number), "the new schema", err))
			}
		}
	}
	return messages, nil
}

func breaks(level, reader, writer string, err error) string {
	detail := err.Error()
	if e, ok := errors.AsType[*avro.CompatibilityError](err); ok {
		detail = "at " + e.Path + ": " + e.Detail
		if e.ReaderType != "" && e.WriterType != "" {
			detail += " (" + e.ReaderType + " from " + e.WriterType + ")"
		}
	}
	return fmt.Sprintf("%s: %s cannot read what %s wrote, %s", level, reader, writer, detail)
}

// inView are the live versions that a level looks at.
func (s *state) inView(name, level string) versions {
	vs := s.Subjects[name].live(false)
	if !strings.HasSuffix(level, transitive) && len(vs) > 1 {
		vs = vs[len(vs)-1:]
	}
	slices.Reverse(vs) // the latest first: its message is the one a person needs
	return vs
}
