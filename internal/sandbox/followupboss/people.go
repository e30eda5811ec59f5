package followupboss

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// raceWindow is how long a request with deduplicate=true looks away between its look for a duplicate
// and its new person: two requests at one moment make two people.
const raceWindow = 5 * time.Millisecond

// stampLayout is how this vendor writes instants.
const stampLayout = "2006-01-02T15:04:05Z"

var errMissing = errors.New("there is no such record")

// personFields are what a person may be sent with.
func personFields() map[string]bool {
	return set("name", "firstName", "lastName", "stage", "stageId", "source", "sourceUrl", "emails", "phones", "addresses", "tags",
		"assignedTo", "assignedUserId", "assignedLenderId", "assignedPondId", "collaborators", "contacted", "price", "background",
		"timeframeId", "createdAt", "type")
}

func set(names ...string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out
}

func (f *api) listPeople(w http.ResponseWriter, r *http.Request, a world.Account) {
	q := r.URL.Query()
	f.page(w, r, a, People, "people", func(p map[string]any) bool {
		return (p["stage"] != stageTrash || q.Get("includeTrash") == "true" || q.Get("includeTrash") == "1") && wanted(p, q)
	})
}

// wanted says whether a person fits the conditions of a search.
func wanted(p map[string]any, q url.Values) bool {
	if ids := q.Get("id"); ids != "" && !slices.Contains(strings.Split(ids, ","), fmt.Sprint(p["id"])) {
		return false
	}
	for _, name := range []string{"firstName", "lastName", "name", "stage", "source", "assignedUserId"} {
		if want := q.Get(name); want != "" && !strings.EqualFold(fmt.Sprint(p[name]), want) {
			return false
		}
	}
	return (q.Get("email") == "" || slices.Contains(emails(p), email(q.Get("email")))) &&
		(q.Get("phone") == "" || slices.Contains(phones(p), phone(q.Get("phone"))))
}

func (f *api) checkDuplicate(w http.ResponseWriter, r *http.Request, a world.Account) {
	q := r.URL.Query()
	if q.Get("email") == "" && q.Get("phone") == "" {
		refuse(w, http.StatusBadRequest, "Either email or phone is required.")
		return
	}
	p, by := f.duplicate(f.base.Records.As(r.Context()), a, []string{email(q.Get("email"))}, []string{phone(q.Get("phone"))})
	if p == nil {
		reply.JSON(w, http.StatusOK, map[string]any{"found": false})
		return
	}
	reply.JSON(w, http.StatusOK, map[string]any{"found": true, "matchedBy": by, "id": p["id"], "assignedTo": p["assignedTo"]})
}

// duplicate finds the oldest person outside the trash with one of the e-mails, else of the phones.
func (f *api) duplicate(v records.View, a world.Account, mails, numbers []string) (person map[string]any, by string) {
	people := f.found(v, a, People, func(p map[string]any) bool { return p["stage"] != stageTrash })
	slices.Reverse(people)
	shares := func(of func(map[string]any) []string, want []string) map[string]any {
		for _, p := range people {
			if slices.ContainsFunc(of(p), func(x string) bool { return x != "" && slices.Contains(want, x) }) {
				return p
			}
		}
		return nil
	}
	if p := shares(emails, mails); p != nil {
		return p, "email"
	}
	if p := shares(phones, numbers); p != nil {
		return p, "phone"
	}
	return nil, ""
}

func (f *api) createPerson(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := f.person(r, a)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.URL.Query().Get("deduplicate") == "true" {
		if f.base.StrictDedupe {
			f.dedupe.Lock()
			defer f.dedupe.Unlock()
		}
		if p, _ := f.duplicate(f.base.Records.Now(), a, emails(body), phones(body)); p != nil {
			f.answerChanged(w, a, People, fmt.Sprint(p["id"]), func(old map[string]any, at time.Time) map[string]any {
				return gain(old, body, at)
			})
			return
		}
		if !f.base.StrictDedupe {
			f.lookAway(r)
		}
	}
	rec, err := f.newPerson(a, body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, http.StatusCreated, fields(rec.Body, ""))
}

func (f *api) lookAway(r *http.Request) {
	t := time.NewTimer(raceWindow)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

func (f *api) newPerson(a world.Account, body map[string]any) (records.Record, error) {
	lead, _ := f.stage(f.base.Records.Now(), a, "name", StageDefault)
	return f.create(a, People, func(at time.Time) map[string]any {
		return named(records.Merge(blankPerson(at, lead["id"]), body))
	})
}

// blankPerson is a person of whom nothing is known.
func blankPerson(at time.Time, lead any) map[string]any {
	now := at.UTC().Format(stampLayout)
	return map[string]any{
		"created": now, "updated": now, "createdVia": "API", "lastActivity": now, "firstName": "", "lastName": "",
		"source": "<unspecified>", "sourceUrl": "", "contacted": 0, "claimed": true, "delayed": false, "type": "Lead",
		"emails": []any{}, "phones": []any{}, "addresses": []any{}, "tags": []any{}, "collaborators": []any{},
		"assignedTo": nil, "assignedUserId": nil, "assignedPondId": nil, "assignedLenderId": nil, "picture": nil,
		"stage": StageDefault, "stageId": lead,
	}
}

// person reads a person from a request: known fields only, stage and user looked up.
func (f *api) person(r *http.Request, a world.Account) (map[string]any, error) {
	body, err := reply.Object(r)
	if err != nil {
		return nil, err
	}
	if k := f.unknown(a, body, personFields(), CustomFields); k != "" {
		return nil, fmt.Errorf("invalid fields in the request body: %s", k)
	}
	return body, f.resolve(a, body)
}

// resolve brings what a person is sent with into the form in which it is kept.
func (f *api) resolve(a world.Account, body map[string]any) error {
	split(body)
	now := f.base.Records.Now()
	by, want := "name", body["stage"]
	if want == nil {
		by, want = "id", body["stageId"]
	}
	if want != nil {
		s, ok := f.stage(now, a, by, want)
		if !ok {
			return fmt.Errorf("stage %v does not exist", want)
		}
		body["stage"], body["stageId"] = s["name"], s["id"]
	}
	if id := body["assignedUserId"]; id != nil {
		users := f.found(now, a, Users, func(u map[string]any) bool { return reflect.DeepEqual(u["id"], id) })
		if len(users) == 0 {
			return fmt.Errorf("user %v does not exist", id)
		}
		body["assignedTo"] = users[0]["name"]
	}
	for _, field := range []string{"emails", "phones"} {
		if given, ok := body[field]; ok {
			list, err := reachable(given)
			if err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
			body[field] = list
		}
	}
	return nil
}

func (f *api) updatePerson(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := f.person(r, a)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	delete(body, "source") // only a new person has a source
	delete(body, "sourceUrl")
	mergeTags := r.URL.Query().Get("mergeTags") == "true"
	f.answerChanged(w, a, People, r.PathValue("id"), func(old map[string]any, at time.Time) map[string]any {
		if tags, ok := body["tags"].([]any); ok && mergeTags {
			body["tags"] = union(old["tags"], tags)
		}
		return touched(old, named(records.Merge(old, body)), at)
	})
}

func (f *api) trashPerson(w http.ResponseWriter, r *http.Request, a world.Account) {
	s, _ := f.stage(f.base.Records.Now(), a, "name", stageTrash)
	_, err := f.base.Records.Put(key(a, People, r.PathValue("id")), func(old records.Record, at time.Time) (records.Change, error) {
		if !old.Exists() {
			return records.Change{}, errMissing
		}
		return records.Change{Body: touched(old.Body, records.Merge(old.Body, map[string]any{"stage": stageTrash, "stageId": s["id"]}), at)}, nil
	})
	switch {
	case errors.Is(err, errMissing):
		missing(w, People)
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// touched moves the updated time where something else changed.
func touched(old, next map[string]any, at time.Time) map[string]any {
	if reflect.DeepEqual(old, next) {
		return next
	}
	return records.Merge(next, map[string]any{"updated": at.UTC().Format(stampLayout)})
}
