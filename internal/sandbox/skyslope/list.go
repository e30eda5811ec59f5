package skyslope

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

const (
	// recent is what the lists show where no time is asked for: files made in the last seven days.
	recent = 7 * 24 * time.Hour
	// pageSize of the paged list.
	pageSize = 50
	day      = 24 * time.Hour
)

// bulk answers with whole files that match all conditions, as one array: sales by guid, then a
// summary.
func (s *api) bulk(w http.ResponseWriter, r *http.Request, a world.Account) {
	f, err := s.filter(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	out := []map[string]any{}
	for _, rec := range s.sales(r.Context(), a) {
		if f.holds(rec) {
			out = append(out, records.Merge(rec.Body, map[string]any{"objectType": "sale"}))
		}
	}
	out = append(out, map[string]any{
		"objectType": "summary", "numberOfSales": len(out), "numberOfListings": 0,
		"numberOfUsers": len(s.base.Records.As(r.Context()).List(a.Key(), Users)),
	})
	reply.JSON(w, http.StatusOK, out)
}

// sales are the account's files by guid, as the vendor lists them.
func (s *api) sales(ctx context.Context, a world.Account) []records.Record {
	var out []records.Record
	for _, rec := range s.base.Records.As(ctx).List(a.Key(), Sales) {
		if rec.Exists() {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(x, y records.Record) int { return strings.Compare(x.ID, y.ID) })
	return out
}

// span is a time condition on one field; both ends are excluded, a zero end is open.
type span struct {
	field         string
	after, before time.Time
}

func (p span) holds(body map[string]any) bool {
	text, _ := body[p.field].(string)
	at, err := instant(text)
	if err != nil || text == NoDate {
		return false
	}
	return (p.after.IsZero() || at.After(p.after)) && (p.before.IsZero() || at.Before(p.before))
}

type filter struct {
	spans                  []span
	kind                   string // sale, listing, all
	status, email, address string
}

// filter reads the conditions of the bulk list.
func (s *api) filter(q url.Values) (filter, error) {
	f := filter{kind: q.Get("type"), status: q.Get("status"), email: q.Get("email"), address: q.Get("propertyAddress")}
	switch f.kind {
	case "", "all", "sale", "listing":
	default:
		return filter{}, fmt.Errorf("type is sale, listing or all, not %q", f.kind)
	}
	for name, field := range map[string]string{"created": "createdOn", "modified": "modifiedOn", "closed": "actualClosingDate"} {
		p := span{field: field}
		var err error
		if p.after, err = bound(q, name+"After"); err != nil {
			return filter{}, err
		}
		if p.before, err = bound(q, name+"Before"); err != nil {
			return filter{}, err
		}
		if p != (span{field: field}) {
			f.spans = append(f.spans, p)
		}
	}
	if len(f.spans) == 0 {
		f.spans = []span{{field: "createdOn", after: s.base.Clock().Add(-recent)}}
	}
	return f, nil
}

func (f filter) holds(rec records.Record) bool {
	if f.kind == "listing" || (f.status != "" && rec.Body["status"] != f.status) {
		return false
	}
	for _, p := range f.spans {
		if !p.holds(rec.Body) {
			return false
		}
	}
	return (f.email == "" || mentions(rec.Body["buyers"], f.email) || mentions(rec.Body["sellers"], f.email)) &&
		(f.address == "" || strings.Contains(strings.ToLower(address(rec.Body)), strings.ToLower(f.address)))
}

func bound(q url.Values, name string) (time.Time, error) {
	if q.Get(name) == "" {
		return time.Time{}, nil
	}
	at, err := instant(q.Get(name))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return at, nil
}

// instant reads a time with or without a zone, or a date; without a zone it is UTC.
func instant(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly, "01/02/2006"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", text)
}

func mentions(contacts any, email string) bool {
	list, _ := contacts.([]any)
	for _, c := range list {
		contact, _ := c.(map[string]any)
		if e, _ := contact["email"].(string); strings.EqualFold(e, email) {
			return true
		}
	}
	return false
}

func address(sale map[string]any) string {
	p, _ := sale["property"].(map[string]any)
	return fmt.Sprint(p["streetNumber"], " ", p["streetAddress"], ", ", p["city"])
}

// list answers with a page of files in short, made between two dates; a link with rel next leads on.
func (s *api) list(w http.ResponseWriter, r *http.Request, a world.Account) {
	q := r.URL.Query()
	page := 1
	if text := q.Get("pageNumber"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			refuse(w, http.StatusBadRequest, "pageNumber is a number from 1")
			return
		}
		page = n
	}
	made := span{field: "createdOn"}
	earliest, err := bound(q, "earliestDate")
	latest, err2 := bound(q, "latestDate")
	if err != nil || err2 != nil {
		refuse(w, http.StatusBadRequest, "earliestDate and latestDate are dates")
		return
	}
	if !earliest.IsZero() {
		made.after = earliest.Add(-time.Nanosecond)
	}
	if !latest.IsZero() {
		made.before = latest.Add(day)
	}
	if earliest.IsZero() && latest.IsZero() {
		made.after = s.base.Clock().Add(-recent)
	}
	var found []map[string]any
	for _, rec := range s.sales(r.Context(), a) {
		if made.holds(rec.Body) && named(q, rec.Body, "agentGuid") && named(q, rec.Body, "createdByGuid") {
			found = append(found, short(rec.Body))
		}
	}
	s.page(w, r, found, page)
}

func (s *api) page(w http.ResponseWriter, r *http.Request, found []map[string]any, page int) {
	first := min((page-1)*pageSize, len(found))
	last := min(first+pageSize, len(found))
	sales := append([]map[string]any{}, found[first:last]...)
	links := []link{{Href: self(r, page), Method: "GET", Rel: "self"}}
	if last < len(found) {
		links = append(links, link{Href: self(r, page+1), Method: "GET", Rel: "next"})
	}
	reply.JSON(w, http.StatusOK, envelope{Value: map[string]any{"sales": sales}, Links: links})
}

// self is the list's own path at a page, below the vendor's base.
func self(r *http.Request, page int) string {
	q := r.URL.Query()
	q.Set("pageNumber", itoa(page))
	return "/api/files/sales?" + q.Encode()
}

func named(q url.Values, body map[string]any, key string) bool {
	return q.Get(key) == "" || body[key] == q.Get(key)
}

// short is a file as the paged list shows it.
func short(sale map[string]any) map[string]any {
	guid, _ := sale["saleGuid"].(string)
	return map[string]any{
		"saleGuid": guid, "status": sale["status"], "actualClosingDate": sale["actualClosingDate"],
		"escrowClosingDate": sale["escrowClosingDate"], "propertyAddress": address(sale),
		"link": link{Href: "/api/files/sales/" + url.PathEscape(guid), Method: "GET", Rel: "self"},
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
