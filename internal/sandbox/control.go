package sandbox

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"conveyance/internal/sandbox/fault"
	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/truth"
	"conveyance/internal/sandbox/world"
)

// control serves what the package comment lists, without /_control in front.
func (s *Sandbox) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /story", s.postStory)
	mux.HandleFunc("GET /story", s.getStories)
	mux.HandleFunc("GET /truth", func(w http.ResponseWriter, _ *http.Request) {
		reply.JSON(w, http.StatusOK, truth.Of(s.opts.Tenants, s.records.Now()))
	})
	for name, d := range s.desks {
		for pattern, h := range d.Control {
			method, path, _ := strings.Cut(pattern, " ")
			mux.HandleFunc(method+" /"+name+"/"+path, h)
		}
	}
	mux.HandleFunc("GET /{vendor}/requests", s.at(getRequests))
	mux.HandleFunc("POST /{vendor}/faults", s.at(postFault))
	mux.HandleFunc("GET /{vendor}/faults", s.at(func(w http.ResponseWriter, _ *http.Request, d *desk) {
		reply.JSON(w, http.StatusOK, d.faults.All())
	}))
	mux.HandleFunc("DELETE /{vendor}/faults", s.at(func(w http.ResponseWriter, _ *http.Request, d *desk) {
		d.faults.Clear()
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("DELETE /{vendor}/faults/{n}", s.at(deleteFault))
	mux.HandleFunc("GET /{vendor}/{kind}", s.at(s.listRecords))
	mux.HandleFunc("GET /{vendor}/{kind}/{id}", s.at(s.getRecord))
	mux.HandleFunc("PUT /{vendor}/{kind}/{id}", s.at(s.putRecord))
	mux.HandleFunc("DELETE /{vendor}/{kind}/{id}", s.at(s.deleteRecord))
	return mux
}

func wrong(w http.ResponseWriter, status int, err error) {
	reply.JSON(w, status, map[string]any{"error": err.Error()})
}

// at finds the vendor that a path names.
func (s *Sandbox) at(h func(http.ResponseWriter, *http.Request, *desk)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d := s.desks[r.PathValue("vendor")]
		if d == nil {
			wrong(w, http.StatusNotFound, errors.New("there is no such simulated vendor"))
			return
		}
		h(w, r, d)
	}
}

func getRequests(w http.ResponseWriter, r *http.Request, d *desk) {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			wrong(w, http.StatusBadRequest, errors.New("after is a request's n"))
			return
		}
		after = n
	}
	reply.JSON(w, http.StatusOK, d.journal.since(r.URL.Query().Get("account"), after))
}

func postFault(w http.ResponseWriter, r *http.Request, d *desk) {
	var f fault.Fault
	if err := reply.Into(r, &f); err != nil {
		wrong(w, http.StatusBadRequest, err)
		return
	}
	added, err := d.faults.Add(f)
	if err != nil {
		wrong(w, http.StatusBadRequest, err)
		return
	}
	reply.JSON(w, http.StatusCreated, added)
}

func deleteFault(w http.ResponseWriter, r *http.Request, d *desk) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || !d.faults.Delete(n) {
		wrong(w, http.StatusNotFound, errors.New("there is no such fault"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// place finds the account and kind that a call about records means.
func (s *Sandbox) place(w http.ResponseWriter, r *http.Request, d *desk) (world.Account, string, bool) {
	kind := r.PathValue("kind")
	if !slices.Contains(d.Kinds, kind) {
		wrong(w, http.StatusNotFound, errors.New("there is no such kind of records"))
		return world.Account{}, "", false
	}
	a, err := world.Pick(world.Accounts(s.opts.Tenants, d.Name), r.URL.Query().Get("tenant"))
	if err != nil {
		wrong(w, http.StatusBadRequest, err)
		return world.Account{}, "", false
	}
	return a, kind, true
}

func (s *Sandbox) listRecords(w http.ResponseWriter, r *http.Request, d *desk) {
	a, kind, ok := s.place(w, r, d)
	if !ok {
		return
	}
	out := []map[string]any{}
	for _, rec := range s.records.Now().List(a.Key(), kind) {
		if rec.Exists() {
			out = append(out, rec.Body)
		}
	}
	reply.JSON(w, http.StatusOK, out)
}

func (s *Sandbox) getRecord(w http.ResponseWriter, r *http.Request, d *desk) {
	a, kind, ok := s.place(w, r, d)
	if !ok {
		return
	}
	rec := s.records.Now().Get(records.Key{Account: a.Key(), Kind: kind, ID: r.PathValue("id")})
	if !rec.Exists() {
		wrong(w, http.StatusNotFound, errors.New("there is no such record"))
		return
	}
	reply.JSON(w, http.StatusOK, rec.Body)
}

func (s *Sandbox) putRecord(w http.ResponseWriter, r *http.Request, d *desk) {
	a, kind, ok := s.place(w, r, d)
	if !ok {
		return
	}
	patch, err := reply.Object(r)
	if err != nil {
		wrong(w, http.StatusBadRequest, err)
		return
	}
	rec, err := d.Put(a, kind, r.PathValue("id"), patch)
	switch {
	case errors.Is(err, records.ErrClosed):
		wrong(w, http.StatusServiceUnavailable, err)
	case err != nil:
		wrong(w, http.StatusBadRequest, err)
	default:
		reply.JSON(w, http.StatusOK, rec.Body)
	}
}

func (s *Sandbox) deleteRecord(w http.ResponseWriter, r *http.Request, d *desk) {
	a, kind, ok := s.place(w, r, d)
	if !ok {
		return
	}
	was, err := s.records.Delete(records.Key{Account: a.Key(), Kind: kind, ID: r.PathValue("id")})
	switch {
	case err != nil:
		wrong(w, http.StatusInternalServerError, err)
	case !was:
		wrong(w, http.StatusNotFound, errors.New("there is no such record"))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
