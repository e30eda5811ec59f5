package registry

import (
	"maps"
	"slices"
)

// avroType is the only schema type kept here.
const avroType = "AVRO"

// state is everything the registry knows, as it lies in the file. A published state is never
// changed: writers change a clone.
type state struct {
	Format   int                 `json:"format"`
	NextID   int                 `json:"next_id"`
	Levels   map[string]string   `json:"levels"` // by subject; "" is for those without their own
	Modes    map[string]string   `json:"modes"`  // likewise
	Schemas  map[int]schema      `json:"schemas"`
	Subjects map[string]versions `json:"subjects"`
}

// schema is one text, kept as it was sent, under one id.
type schema struct {
	Text       string      `json:"schema"`
	References []reference `json:"references,omitempty"`
}

// reference says in which version of which subject a named type is defined.
type reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// versions of one subject, ascending.
type versions []version

// version is one registration. Soft deletion hides it, keeps its number taken and its id readable.
type version struct {
	Number  int  `json:"version"`
	ID      int  `json:"id"`
	Deleted bool `json:"deleted,omitempty"`
}

func newState() *state {
	return &state{
		Format: format, NextID: 1, Levels: map[string]string{}, Modes: map[string]string{},
		Schemas: map[int]schema{}, Subjects: map[string]versions{},
	}
}

func (s *state) clone() *state {
	next := *s
	next.Levels, next.Modes = maps.Clone(s.Levels), maps.Clone(s.Modes)
	next.Schemas, next.Subjects = maps.Clone(s.Schemas), maps.Clone(s.Subjects)
	for name, vs := range next.Subjects {
		next.Subjects[name] = slices.Clone(vs)
	}
	return &next
}

// live are the versions that are not deleted; with deleted, all.
func (vs versions) live(deleted bool) versions {
	return slices.DeleteFunc(slices.Clone(vs), func(v version) bool { return v.Deleted && !deleted })
}

// next is the number of a subject's next version; deleted ones keep theirs.
func (vs versions) next() int {
	if len(vs) == 0 {
		return 1
	}
	return vs[len(vs)-1].Number + 1
}

// names are the subjects that have a version, sorted; with deleted, a deleted one is enough.
func (s *state) names(deleted bool) []string {
	names := []string{}
	for name, vs := range s.Subjects {
		if len(vs.live(deleted)) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// subject returns a subject's versions, at least one.
func (s *state) subject(name string, deleted bool) (versions, error) {
	vs := s.Subjects[name].live(deleted)
	if len(vs) == 0 {
		return nil, subjectNotFound(name)
	}
	return vs, nil
}

// find returns the version that a request names: a number, or latest.
func (s *state) find(name string, number int, deleted bool) (version, error) {
	vs, err := s.subject(name, deleted)
	if err != nil {
		return version{}, err
	}
	if number == latest {
		return vs[len(vs)-1], nil
	}
	for _, v := range vs {
		if v.Number == number {
			return v, nil
		}
	}
	return version{}, versionNotFound(number)
}

// identify returns the id of a schema: the one it has, under whatever subject, else the next.
func (s *state) identify(sc schema, normalize bool) int {
	for _, id := range slices.Sorted(maps.Keys(s.Schemas)) {
		if same(s.Schemas[id], sc, normalize) {
			return id
		}
	}
	id := s.NextID
	s.NextID++
	s.Schemas[id] = sc
	return id
}

// users are the ids of the schemas that refer to a version and are themselves not deleted.
func (s *state) users(name string, number int) []int {
	ids := []int{}
	for _, user := range s.names(false) {
		for _, v := range s.Subjects[user].live(false) {
			refers := slices.ContainsFunc(s.Schemas[v.ID].References, func(r reference) bool {
				return r.Subject == name && r.Version == number
			})
			if refers && !slices.Contains(ids, v.ID) {
				ids = append(ids, v.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// sweep forgets schemas that no version has any more; their ids are not given again.
func (s *state) sweep() {
	used := map[int]bool{}
	for _, vs := range s.Subjects {
		for _, v := range vs {
			used[v.ID] = true
		}
	}
	maps.DeleteFunc(s.Schemas, func(id int, _ schema) bool { return !used[id] })
}
