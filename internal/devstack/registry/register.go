package registry

import (
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// subjectBytesMax bounds a subject's name: a topic's 249 characters, a record name, a dash.
const subjectBytesMax = 512

// submission is the body of a registration, a lookup and a check.
type submission struct {
	Schema     string      `json:"schema"`
	Type       string      `json:"schemaType"`
	References []reference `json:"references"`
	ID         int         `json:"id"`      // in mode IMPORT: the id to give
	Version    int         `json:"version"` // in mode IMPORT: the version to give; 0 = the next
}

func submitted(req *http.Request) (submission, schema, error) {
	var in submission
	if err := body(req, &in); err != nil {
		return in, schema{}, err
	}
	if in.Type != "" && in.Type != avroType {
		return in, schema{}, invalidSchema("Invalid schema type %s. This registry keeps AVRO only", in.Type)
	}
	return in, schema{Text: in.Schema, References: in.References}, nil
}

// register answers with the id of a schema under a subject, and gives it the next version where it
// has none yet.
func (r *Registry) register(req *http.Request) (any, error) {
	name := req.PathValue("subject")
	if len(name) > subjectBytesMax || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' }) {
		return nil, refuse(http.StatusUnprocessableEntity, 42208, "The specified subject is not a valid subject.")
	}
	in, sc, err := submitted(req)
	if err != nil {
		return nil, err
	}
	if v, err := r.state.Load().registered(name, in, sc, flag(req, "normalize")); err != nil {
		return nil, err
	} else if v != nil { // every start of every producer comes here: nothing to write
		return r.state.Load().show(name, *v), nil
	}
	var answer subjectVersion
	err = r.update(func(s *state) error {
		v, err := s.register(name, in, sc, flag(req, "normalize"))
		answer = s.show(name, v)
		return err
	})
	return answer, err
}

// registered returns the version that a schema has already, nil where it has none.
func (s *state) registered(name string, in submission, sc schema, normalize bool) (*version, error) {
	if err := s.mayRegister(name, in.ID); err != nil {
		return nil, err
	}
	for _, v := range s.Subjects[name].live(false) {
		if same(s.Schemas[v.ID], sc, normalize) && (in.ID <= 0 || in.ID == v.ID) {
			return &v, nil
		}
	}
	return nil, nil //nolint:nilnil // no version is an answer here
}

func (s *state) register(name string, in submission, sc schema, normalize bool) (version, error) {
	if v, err := s.registered(name, in, sc, normalize); err != nil || v != nil {
		if err != nil {
			return version{}, err
		}
		return *v, nil
	}
	next, err := s.parse(sc)
	if err != nil {
		return version{}, err
	}
	if in.ID > 0 {
		return s.adopt(name, in, sc)
	}
	if err := s.compatible(name, next); err != nil {
		return version{}, err
	}
	v := version{Number: s.Subjects[name].next(), ID: s.identify(sc, normalize)}
	s.Subjects[name] = append(s.Subjects[name], v)
	return v, nil
}

func (s *state) compatible(name string, next *avro.Schema) error {
	level := s.levelOf(name)
	messages, err := s.judge(next, s.inView(name, level), level)
	if err != nil {
		return err
	}
	if len(messages) > 0 {
		return refuse(http.StatusConflict, http.StatusConflict,
			"Schema being registered is incompatible with an earlier schema for subject %q, details: [%s]",
			name, strings.Join(messages, "; "))
	}
	return nil
}

// adopt keeps a schema under the id and version that another registry gave it.
func (s *state) adopt(name string, in submission, sc schema) (version, error) {
	if held, ok := s.Schemas[in.ID]; ok && !same(held, sc, false) {
		return version{}, notPermitted("Overwrite new schema with id %d is not permitted.", in.ID)
	}
	vs := s.Subjects[name]
	v := version{Number: in.Version, ID: in.ID}
	if v.Number <= 0 {
		v.Number = vs.next()
	}
	at, taken := slices.BinarySearchFunc(vs, v, func(a, b version) int { return a.Number - b.Number })
	if taken {
		return version{}, notPermitted("Overwrite version %d of subject %s is not permitted.", v.Number, name)
	}
	s.Subjects[name] = slices.Insert(vs, at, v)
	s.Schemas[v.ID] = sc
	s.NextID = max(s.NextID, v.ID+1)
	return v, nil
}

// lookup answers with the version that a schema has under a subject.
func (r *Registry) lookup(req *http.Request) (any, error) {
	name := req.PathValue("subject")
	_, sc, err := submitted(req)
	if err != nil {
		return nil, err
	}
	s := r.state.Load()
	vs, err := s.subject(name, flag(req, "deleted"))
	if err != nil {
		return nil, err
	}
	if _, err := s.parse(sc); err != nil {
		return nil, err
	}
	slices.Reverse(vs)
	for _, v := range vs {
		if same(s.Schemas[v.ID], sc, flag(req, "normalize")) {
			return s.show(name, v), nil
		}
	}
	return nil, schemaNotFound()
}

// verdict is the answer to a check; messages only where verbose=true asks for them.
type verdict struct {
	Compatible bool     `json:"is_compatible"`
	Messages   []string `json:"messages,omitempty"`
}

// checkAll holds a schema against what its subject's level looks at, as a registration would.
func (r *Registry) checkAll(req *http.Request) (any, error) {
	s, name := r.state.Load(), req.PathValue("subject")
	return check(s, req, s.inView(name, s.levelOf(name)))
}

// checkOne holds a schema against one version, in the direction of the subject's level. Where
// nothing is registered yet everything is compatible with the latest.
func (r *Registry) checkOne(req *http.Request) (any, error) {
	n, err := number(req)
	if err != nil {
		return nil, err
	}
	s, name := r.state.Load(), req.PathValue("subject")
	v, err := s.find(name, n, false)
	switch {
	case err == nil:
		return check(s, req, versions{v})
	case n == latest:
		return check(s, req, nil)
	default:
		return nil, err
	}
}

func check(s *state, req *http.Request, against versions) (any, error) {
	_, sc, err := submitted(req)
	if err != nil {
		return nil, err
	}
	next, err := s.parse(sc)
	if err != nil {
		return nil, err
	}
	messages, err := s.judge(next, against, s.levelOf(req.PathValue("subject")))
	if err != nil {
		return nil, err
	}
	answer := verdict{Compatible: len(messages) == 0}
	if flag(req, "verbose") {
		answer.Messages = messages
	}
	return answer, nil
}
