package followupboss

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

const (
	limitDefault = 10
	limitMax     = 100
	// offsetMax is how deep a list goes by offset; beyond it clients must follow next.
	offsetMax = 2000
)

// all lists every record of a kind.
func (f *api) all(kind, collection string) handler {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		f.page(w, r, a, kind, collection, func(map[string]any) bool { return true })
	}
}

// page answers with one page of the records that hold, newest first, by offset or by next.
func (f *api) page(w http.ResponseWriter, r *http.Request, a world.Account, kind, collection string,
	hold func(map[string]any) bool,
) {
	q := r.URL.Query()
	limit, err1 := number(q, "limit", limitDefault)
	offset, err2 := number(q, "offset", 0)
	before, err3 := cursor(q.Get("next"))
	if err1 != nil || err2 != nil || err3 != nil || limit < 1 {
		refuse(w, http.StatusBadRequest, "limit, offset and next must be what this API gave or numbers.")
		return
	}
	if offset > offsetMax {
		refuse(w, http.StatusBadRequest, "The offset is too large. Use next instead.")
		return
	}
	limit = min(limit, limitMax)
	found := f.found(f.base.Records.As(r.Context()), a, kind, hold)
	start := offset
	if before > 0 {
		start = slices.IndexFunc(found, func(body map[string]any) bool { return idOf(body) < before })
		if start < 0 {
			start = len(found)
		}
	}
	start = min(start, len(found))
	end := min(start+limit, len(found))
	shown := make([]map[string]any, 0, limit)
	for _, body := range found[start:end] {
		shown = append(shown, fields(body, q.Get("fields")))
	}
	meta := map[string]any{"collection": collection, "offset": offset, "limit": limit, "total": len(found)}
	if end < len(found) {
		next := nextOf(idOf(found[end-1]))
		q.Set("next", next)
		q.Del("offset")
		meta["next"], meta["nextLink"] = next, "http://"+r.Host+"/followupboss"+r.URL.Path+"?"+q.Encode()
	}
	reply.JSON(w, http.StatusOK, map[string]any{"_metadata": meta, collection: shown})
}

// found are the bodies of an account's records that hold, by id descending.
func (f *api) found(v records.View, a world.Account, kind string, hold func(map[string]any) bool) []map[string]any {
	var out []map[string]any
	for _, rec := range v.List(a.Key(), kind) {
		if rec.Exists() && hold(rec.Body) {
			out = append(out, rec.Body)
		}
	}
	slices.SortFunc(out, func(x, y map[string]any) int { return int(idOf(y) - idOf(x)) })
	return out
}

// fields is what a caller asked to see of a record: by default all but custom fields, allFields, or
// the named ones.
func fields(body map[string]any, want string) map[string]any {
	if want == "allFields" {
		return body
	}
	named := strings.Split(want, ",")
	out := map[string]any{}
	for k, v := range body {
		if (want == "" && !strings.HasPrefix(k, "custom")) || k == "id" || slices.Contains(named, k) {
			out[k] = v
		}
	}
	return out
}

func number(q url.Values, name string, otherwise int) (int, error) {
	if q.Get(name) == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err == nil && n < 0 {
		err = fmt.Errorf("%s is negative", name)
	}
	return n, err
}

// nextOf is an opaque place behind a record.
func nextOf(id int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"before":` + strconv.FormatInt(id, 10) + `}`))
}

func cursor(next string) (int64, error) {
	if next == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(next)
	if err != nil {
		return 0, err
	}
	inner, ok1 := strings.CutPrefix(string(text), `{"before":`)
	inner, ok2 := strings.CutSuffix(inner, "}")
	if !ok1 || !ok2 {
		return 0, fmt.Errorf("next %q was not given by this API", next)
	}
	return strconv.ParseInt(inner, 10, 64)
}
