package registry

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

const (
	readWrite = "READWRITE"
	importing = "IMPORT" // ids and versions are given by the caller, as when a registry is copied
	override  = "READONLY_OVERRIDE"
)

// modes that a registry can be in; all but the first two refuse registrations.
var modes = []string{readWrite, importing, "READONLY", override, "FORWARD"}

// modeOf is a subject's own mode, else the one for all; READONLY_OVERRIDE for all beats both.
func (s *state) modeOf(name string) string {
	if s.Modes[""] == override {
		return override
	}
	return cmp.Or(s.Modes[name], s.Modes[""], readWrite)
}

// mayRegister holds a registration against the mode.
func (s *state) mayRegister(name string, id int) error {
	switch mode := s.modeOf(name); {
	case id > 0 && mode != importing:
		return notPermitted("Subject %s is not in import mode", name)
	case id <= 0 && mode != readWrite:
		return notPermitted("Subject %s is in mode %s, not in read-write mode", name, mode)
	default:
		return nil
	}
}

// setting is a level or a mode: one for all subjects, and each subject's own.
type setting struct {
	name, read, write string // in sentences, in answers, in requests
	values            []string
	invalid, unset    int // Confluent's codes
	stored            func(*state) map[string]string
	effective         func(s *state, subject string) string
}

var (
	level = setting{
		name: "compatibility", read: "compatibilityLevel", write: "compatibility",
		values: levels, invalid: 42203, unset: 40408,
		stored:    func(s *state) map[string]string { return s.Levels },
		effective: (*state).levelOf,
	}
	mode = setting{
		name: "mode", read: "mode", write: "mode",
		values: modes, invalid: 42204, unset: 40409,
		stored:    func(s *state) map[string]string { return s.Modes },
		effective: (*state).modeOf,
	}
)

func (t setting) get(r *Registry) endpoint {
	return func(req *http.Request) (any, error) {
		s, subject := r.state.Load(), req.PathValue("subject")
		if subject != "" && t.stored(s)[subject] == "" && !flag(req, "defaultToGlobal") {
			return nil, notFound(t.unset, "Subject '%s' does not have subject-level %s configured", subject, t.name)
		}
		return map[string]string{t.read: t.effective(s, subject)}, nil
	}
}

func (t setting) put(r *Registry) endpoint {
	return func(req *http.Request) (any, error) {
		var in map[string]any
		if err := body(req, &in); err != nil {
			return nil, err
		}
		text, _ := in[t.write].(string)
		value := strings.ToUpper(text)
		if !slices.Contains(t.values, value) {
			return nil, refuse(http.StatusUnprocessableEntity, t.invalid,
				"Invalid value for %s. Valid values are %s", t.name, strings.Join(t.values, ", "))
		}
		err := r.update(func(s *state) error {
			t.stored(s)[req.PathValue("subject")] = value
			return nil
		})
		return map[string]string{t.write: value}, err
	}
}

// reset takes a setting back and answers with what it was. Confluent names the level as a read
// does, some of its clients look for what a write does: both are there.
func (t setting) reset(r *Registry) endpoint {
	return func(req *http.Request) (any, error) {
		subject := req.PathValue("subject")
		var was string
		err := r.update(func(s *state) error {
			was = t.stored(s)[subject]
			if subject != "" && was == "" {
				return subjectNotFound(subject)
			}
			was = t.effective(s, subject)
			delete(t.stored(s), subject)
			return nil
		})
		return map[string]string{t.read: was, t.write: was}, err
	}
}
