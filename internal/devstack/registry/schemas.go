package registry

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// subjectVersion is a schema as it stands under a subject. Confluent leaves schemaType out for Avro.
type subjectVersion struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	Schema     string      `json:"schema"`
	References []reference `json:"references,omitempty"`
}

func (s *state) show(name string, v version) subjectVersion {
	sc := s.Schemas[v.ID]
	return subjectVersion{Subject: name, Version: v.Number, ID: v.ID, Schema: sc.Text, References: sc.References}
}

func (r *Registry) allSchemas(req *http.Request) (any, error) {
	s, prefix := r.state.Load(), req.URL.Query().Get("subjectPrefix")
	all := []subjectVersion{}
	for _, name := range s.names(flag(req, "deleted")) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		vs := s.Subjects[name].live(flag(req, "deleted"))
		if flag(req, "latestOnly") {
			vs = vs[len(vs)-1:]
		}
		for _, v := range vs {
			all = append(all, s.show(name, v))
		}
	}
	return all, nil
}

func (r *Registry) schemaByID(req *http.Request) (any, error) {
	sc, err := r.byID(req)
	if err != nil {
		return nil, err
	}
	answer := struct {
		schema
		MaxID int `json:"maxId,omitempty"`
	}{schema: sc}
	if flag(req, "fetchMaxId") {
		answer.MaxID = slices.Max(slices.Collect(maps.Keys(r.state.Load().Schemas)))
	}
	return answer, nil
}

func (r *Registry) textByID(req *http.Request) (any, error) {
	sc, err := r.byID(req)
	return raw(sc.Text), err
}

// byID reads a schema, also one whose every version is softly deleted: there are records of it.
func (r *Registry) byID(req *http.Request) (schema, error) {
	id, err := schemaID(req)
	if err != nil {
		return schema{}, err
	}
	sc, ok := r.state.Load().Schemas[id]
	if !ok {
		return schema{}, notFound(40403, "Schema %d not found", id)
	}
	return sc, nil
}

// uses calls yield for each version of a schema; an id that nobody knows is an error.
func (r *Registry) uses(req *http.Request, yield func(name string, v version)) error {
	if _, err := r.byID(req); err != nil {
		return err
	}
	id, err := schemaID(req)
	if err != nil {
		return err
	}
	s := r.state.Load()
	for _, name := range s.names(flag(req, "deleted")) {
		for _, v := range s.Subjects[name].live(flag(req, "deleted")) {
			if v.ID == id {
				yield(name, v)
			}
		}
	}
	return nil
}

func (r *Registry) versionsByID(req *http.Request) (any, error) {
	type use struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	list := []use{}
	err := r.uses(req, func(name string, v version) { list = append(list, use{name, v.Number}) })
	return list, err
}

func (r *Registry) subjectsByID(req *http.Request) (any, error) {
	list := []string{}
	err := r.uses(req, func(name string, _ version) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	})
	return list, err
}

func (r *Registry) subjects(req *http.Request) (any, error) {
	prefix := req.URL.Query().Get("subjectPrefix")
	names := r.state.Load().names(flag(req, "deleted"))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

func (r *Registry) versions(req *http.Request) (any, error) {
	vs, err := r.state.Load().subject(req.PathValue("subject"), flag(req, "deleted"))
	if err != nil {
		return nil, err
	}
	return vs.numbers(), nil
}

func (vs versions) numbers() []int {
	list := make([]int, len(vs))
	for i, v := range vs {
		list[i] = v.Number
	}
	return list
}

func (r *Registry) schemaByVersion(req *http.Request) (any, error) {
	s, v, err := r.byVersion(req)
	if err != nil {
		return nil, err
	}
	return s.show(req.PathValue("subject"), v), nil
}

func (r *Registry) textByVersion(req *http.Request) (any, error) {
	s, v, err := r.byVersion(req)
	if err != nil {
		return nil, err
	}
	return raw(s.Schemas[v.ID].Text), nil
}

func (r *Registry) referencedBy(req *http.Request) (any, error) {
	s, v, err := r.byVersion(req)
	if err != nil {
		return nil, err
	}
	return s.users(req.PathValue("subject"), v.Number), nil
}

// byVersion returns one state and the version in it that the request names.
func (r *Registry) byVersion(req *http.Request) (*state, version, error) {
	n, err := number(req)
	if err != nil {
		return nil, version{}, err
	}
	s := r.state.Load()
	v, err := s.find(req.PathValue("subject"), n, flag(req, "deleted"))
	return s, v, err
}
