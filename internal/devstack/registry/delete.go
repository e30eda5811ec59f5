package registry

import (
	"net/http"
	"slices"
)

// deleteSubject hides a subject's versions; permanent=true forgets what is hidden already.
func (r *Registry) deleteSubject(req *http.Request) (any, error) {
	name, permanent := req.PathValue("subject"), flag(req, "permanent")
	var gone versions
	err := r.update(func(s *state) error {
		all, err := s.subject(name, true)
		if err != nil {
			return err
		}
		live := all.live(false)
		switch {
		case permanent && len(live) > 0:
			return notFound(40405, "Subject '%s' was not deleted first before being permanently deleted", name)
		case !permanent && len(live) == 0:
			return notFound(40404, "Subject '%s' was soft deleted. Set permanent=true to delete permanently", name)
		case permanent:
			gone = all
		default:
			gone = live
		}
		for _, v := range gone {
			if err := s.drop(name, v, permanent); err != nil {
				return err
			}
		}
		delete(s.Levels, name)
		delete(s.Modes, name)
		return nil
	})
	return gone.numbers(), err
}

// deleteVersion hides one version; permanent=true forgets one that is hidden already.
func (r *Registry) deleteVersion(req *http.Request) (any, error) {
	name, permanent := req.PathValue("subject"), flag(req, "permanent")
	n, err := number(req)
	if err != nil {
		return nil, err
	}
	err = r.update(func(s *state) error {
		v, err := s.find(name, n, n != latest || permanent)
		if err != nil {
			return err
		}
		n = v.Number
		switch {
		case permanent && !v.Deleted:
			return notFound(40407, "Subject '%s' Version %d was not deleted first before being permanently deleted", name, n)
		case !permanent && v.Deleted:
			return notFound(40406, "Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", name, n)
		}
		return s.drop(name, v, permanent)
	})
	return n, err
}

// drop hides or forgets a version that no other schema refers to.
func (s *state) drop(name string, v version, permanent bool) error {
	if ids := s.users(name, v.Number); len(ids) > 0 {
		return refuse(http.StatusUnprocessableEntity, 42206,
			"One or more references exist to the schema {subject=%s,version=%d}: schemas %v", name, v.Number, ids)
	}
	vs := s.Subjects[name]
	at := slices.Index(vs, v)
	if !permanent {
		vs[at].Deleted = true
		return nil
	}
	if vs = slices.Delete(vs, at, at+1); len(vs) == 0 {
		delete(s.Subjects, name)
	} else {
		s.Subjects[name] = vs
	}
	s.sweep()
	return nil
}
