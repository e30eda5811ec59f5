package docusign

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// countMax is how many envelopes a page holds at most, and where nothing is asked.
const countMax = 1000

// list answers with a page of the envelopes that match, newest change first unless order says
// otherwise. Drafts are shown only to who asks for status created.
func (s *api) list(w http.ResponseWriter, r *http.Request, a world.Account) {
	q := r.URL.Query()
	f, err := readFilter(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	var found []map[string]any
	for _, rec := range s.base.Records.As(r.Context()).List(a.Key(), Envelopes) {
		if rec.Exists() && f.holds(rec.Body) {
			found = append(found, rec.Body)
		}
	}
	slices.SortStableFunc(found, func(x, y map[string]any) int {
		if f.ascending {
			x, y = y, x
		}
		return strings.Compare(text(y[f.orderBy]), text(x[f.orderBy]))
	})
	first := min(f.start, len(found))
	last := min(first+f.count, len(found))
	out := map[string]any{
		"resultSetSize": strconv.Itoa(last - first), "totalSetSize": strconv.Itoa(len(found)), "startPosition": strconv.Itoa(first),
		"endPosition": strconv.Itoa(max(first, last-1)), "nextUri": "", "previousUri": "",
	}
	if last < len(found) {
		out["nextUri"] = at(a, q, last)
	}
	if first > 0 {
		out["previousUri"] = at(a, q, max(0, first-f.count))
	}
	if last > first { // a page of nothing has no list
		list := make([]any, 0, last-first)
		for _, body := range found[first:last] {
			list = append(list, envelopeOf(body, strings.Split(q.Get("include"), ",")))
		}
		out["envelopes"] = list
	}
	reply.JSON(w, http.StatusOK, out)
}

// at is the list's path at another place, below the API's version.
func at(a world.Account, q url.Values, start int) string {
	q.Set("start_position", strconv.Itoa(start))
	return "/accounts/" + url.PathEscape(a.ExternalID) + "/envelopes?" + q.Encode()
}

type filter struct {
	from, to     time.Time
	field        string   // the time that from and to are about
	statuses     []string // empty for all but drafts
	ids          []string
	start, count int
	orderBy      string
	ascending    bool
}

func readFilter(q url.Values) (filter, error) {
	f := filter{count: countMax, field: "statusChangedDateTime", orderBy: "lastModifiedDateTime", ascending: q.Get("order") == "asc"}
	var err error
	for name, into := range map[string]*time.Time{"from_date": &f.from, "to_date": &f.to} {
		if q.Get(name) == "" {
			continue
		}
		if *into, err = instant(q.Get(name)); err != nil {
			return filter{}, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	for name, into := range map[string]*int{"start_position": &f.start, "count": &f.count} {
		if q.Get(name) == "" {
			continue
		}
		if *into, err = strconv.Atoi(q.Get(name)); err != nil || *into < 0 {
			return filter{}, fmt.Errorf("%s is a number from 0", name)
		}
	}
	f.count = min(f.count, countMax)
	if f.count == 0 {
		f.count = countMax
	}
	f.statuses, f.ids = words(q.Get("status")), words(q.Get("envelope_ids"))
	if f.from.IsZero() && len(f.ids) == 0 {
		return filter{}, errors.New("from_date or envelope_ids is required")
	}
	if by := q.Get("from_to_status"); by != "" && by != "changed" {
		f.field = strings.ToLower(by) + "DateTime"
	}
	if by := q.Get("order_by"); by != "" {
		f.orderBy = map[string]string{
			"created": "createdDateTime", "sent": "sentDateTime", "completed": "completedDateTime",
			"status_changed": "statusChangedDateTime", "last_modified": "lastModifiedDateTime",
		}[by]
		if f.orderBy == "" {
			return filter{}, fmt.Errorf("order_by is created, sent, completed, status_changed or last_modified, not %q", by)
		}
	}
	return f, nil
}

// words are the parts of a list with commas, in lower case; none for any.
func words(list string) []string {
	var out []string
	for word := range strings.SplitSeq(strings.ToLower(list), ",") {
		if word = strings.TrimSpace(word); word != "" && word != "any" {
			out = append(out, word)
		}
	}
	return out
}

func (f filter) holds(body map[string]any) bool {
	status := text(body["status"])
	switch {
	case len(f.ids) > 0 && !slices.Contains(f.ids, text(body["envelopeId"])):
		return false
	case len(f.statuses) == 0 && status == "created", len(f.statuses) > 0 && !slices.Contains(f.statuses, status):
		return false
	}
	at, err := instant(text(body[f.field]))
	if err != nil {
		return f.from.IsZero() && f.to.IsZero()
	}
	return !at.Before(f.from) && (f.to.IsZero() || !at.After(f.to))
}

// instant reads a time with or without a zone, or a date; without a zone it is UTC.
func instant(written string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly, "1/2/2006", "1/2/2006 15:04"} {
		if at, err := time.Parse(layout, written); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", written)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// truth is a flag as the vendor writes it: "true" as text; true is taken, too.
func truth(v any) bool { return v == true || strings.EqualFold(text(v), "true") }
