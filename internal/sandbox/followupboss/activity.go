package followupboss

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

func (f *api) createNote(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err == nil {
		err = f.note(a, body)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	f.answerCreated(w, a, Notes, records.Merge(map[string]any{"subject": "", "body": "", "isHtml": false}, body))
}

// note checks what a note is sent with: it belongs to a person who is there.
func (f *api) note(a world.Account, body map[string]any) error {
	if k := f.unknown(a, body, set("personId", "subject", "body", "isHtml"), CustomFields); k != "" {
		return fmt.Errorf("invalid fields in the request body: %s", k)
	}
	if !f.base.Records.Now().Get(key(a, People, fmt.Sprint(body["personId"]))).Exists() {
		return errors.New("personId must be the id of a person")
	}
	return nil
}

func (f *api) updateNote(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	delete(body, "personId") // a note stays with its person
	f.answerChanged(w, a, Notes, r.PathValue("id"), func(old map[string]any, _ time.Time) map[string]any {
		return records.Merge(old, body)
	})
}

func (f *api) listEvents(w http.ResponseWriter, r *http.Request, a world.Account) {
	want := r.URL.Query().Get("personId")
	f.page(w, r, a, Events, "events", func(e map[string]any) bool { return want == "" || fmt.Sprint(e["personId"]) == want })
}

// automated are the types of events that start action plans, which write to the client.
func automated(typ any) bool {
	return slices.Contains([]any{"Registration", "Seller Inquiry", "Property Inquiry", "General Inquiry", "Visited Open House"}, typ)
}

// createEvent runs the lead flow: it finds the person by id, e-mail or phone, else makes one, and
// records the event, with startedActionPlans where the vendor would have written to the client.
func (f *api) createEvent(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	given, _ := body["person"].(map[string]any)
	if given == nil {
		refuse(w, http.StatusBadRequest, "An event needs a person.")
		return
	}
	status := http.StatusOK
	person, err := f.lead(a, given)
	if err == nil && person == nil {
		status = http.StatusCreated
		delete(given, "id")
		if err = f.resolve(a, given); err == nil {
			var rec records.Record
			rec, err = f.newPerson(a, records.Merge(given, map[string]any{"source": body["source"]}))
			person = rec.Body
		}
	}
	switch {
	case errors.Is(err, errMissing):
		missing(w, "person")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	_, err = f.create(a, Events, func(at time.Time) map[string]any {
		return records.Merge(body, map[string]any{
			"personId": person["id"], "created": at.UTC().Format(stampLayout), "startedActionPlans": automated(body["type"]),
		})
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, status, fields(person, ""))
}

// lead finds the person of an event; nil where there is none yet.
func (f *api) lead(a world.Account, given map[string]any) (map[string]any, error) {
	now := f.base.Records.Now()
	if id := given["id"]; id != nil {
		rec := now.Get(key(a, People, fmt.Sprint(id)))
		if !rec.Exists() {
			return nil, errMissing
		}
		return rec.Body, nil
	}
	p, _ := f.duplicate(now, a, emails(given), phones(given))
	return p, nil
}

// idMax is the largest id that a JSON reader keeps exact.
const idMax = 1<<53 - 1

// put merges a patch into a record for a control call. Ids are the vendor's numbers.
func (f *api) put(a world.Account, kind, id string, patch map[string]any) (records.Record, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 || n > idMax {
		return records.Record{}, fmt.Errorf("the id %q is not a number from 1 to %d", id, int64(idMax))
	}
	f.base.Records.SkipTo(n) // no new record takes the same id
	if kind == People {
		if err := f.resolve(a, patch); err != nil {
			return records.Record{}, err
		}
	}
	lead, _ := f.stage(f.base.Records.Now(), a, "name", StageDefault)
	return f.base.Records.Put(key(a, kind, id), func(old records.Record, at time.Time) (records.Change, error) {
		body := old.Body
		if kind == People && !old.Exists() {
			body = records.Merge(blankPerson(at, lead["id"]), map[string]any{"createdVia": "Manually"})
		}
		body = records.Merge(body, patch)
		body["id"] = n
		if kind == People {
			body = touched(old.Body, named(body), at)
		}
		return records.Change{Body: body}, nil
	})
}
