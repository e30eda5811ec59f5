package sandbox_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

func person(first, mail, tel string) map[string]any {
	p := map[string]any{"firstName": first, "lastName": "Holt"}
	if mail != "" {
		p["emails"] = []any{map[string]any{"value": mail}}
	}
	if tel != "" {
		p["phones"] = []any{map[string]any{"value": tel}}
	}
	return p
}

func (w *world) create(tenant, path string, body any) map[string]any {
	w.t.Helper()
	return w.want(201, "POST", "/followupboss/v1"+path, body, crm(tenant)).object(w.t)
}

func (w *world) found(tenant, query string) []any {
	w.t.Helper()
	got := w.want(200, "GET", "/followupboss/v1/people?"+query, nil, crm(tenant)).object(w.t)
	return got["people"].([]any)
}

func id(record map[string]any) string { return fmt.Sprintf("%.0f", record["id"]) }

func TestKeysOpenTheirOwnAccountOnly(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	mine := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	w.want(200, "GET", "/followupboss/v1/people/"+id(mine), nil, crm("lakeshore"))
	w.want(404, "GET", "/followupboss/v1/people/"+id(mine), nil, crm("redrock"))
	require.Contains(t, w.want(401, "GET", "/followupboss/v1/identity", nil, crm("nobody")).object(t), "errorMessage")
	w.want(401, "GET", "/followupboss/v1/people", nil, nil)
	got := w.want(200, "GET", "/followupboss/v1/identity", nil, crm("lakeshore")).object(t)
	require.Equal(t, "2", got["account"].(map[string]any)["id"])
	require.Equal(t, true, got["user"].(map[string]any)["isOwner"])
}

func TestPeopleAreFoundByEmailPhoneAndID(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "Mira@Example.com", "(312) 555-0142"))
	require.Equal(t, "Lead", p["stage"])
	require.Equal(t, "Mira Holt", p["name"])
	other := w.create("lakeshore", "/people", person("Otis", "otis@example.com", ""))
	for query, want := range map[string]int{
		"email=mira%40example.com": 1, "phone=3125550142": 1, "phone=%2B13125550142": 1, "id=" + id(p) + "," + id(other): 2,
		"email=nobody%40example.com": 0, "firstName=otis": 1, "stage=Lead": 2, "": 2,
	} {
		require.Len(t, w.found("lakeshore", query), want, query)
	}
}

func TestDeduplicationIsAskedForAndOnlyAdds(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	first := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	require.Len(t, w.found("lakeshore", "email=mira@example.com"), 2, "POST /people makes duplicates")

	dup := person("Other", "MIRA@example.com", "(312) 555-0142")
	dup["stage"] = "Closed"
	got := w.want(200, "POST", "/followupboss/v1/people?deduplicate=true", dup, crm("lakeshore")).object(t)
	require.Equal(t, first["id"], got["id"], "the oldest")
	require.Equal(t, "Mira", got["firstName"])
	require.Equal(t, "Lead", got["stage"])
	require.Len(t, got["emails"], 1)
	require.Len(t, got["phones"], 1)
	byPhone := w.want(200, "POST", "/followupboss/v1/people?deduplicate=true", person("X", "x@example.com", "312.555.0142"), crm("lakeshore")).object(t)
	require.Equal(t, first["id"], byPhone["id"])

	check := w.want(200, "GET", "/followupboss/v1/people/checkDuplicate?phone=3125550142", nil, crm("lakeshore")).object(t)
	require.Equal(t, true, check["found"])
	require.Equal(t, "phone", check["matchedBy"])
	require.Equal(t, false, w.want(200, "GET", "/followupboss/v1/people/checkDuplicate?email=no@example.com", nil, crm("lakeshore")).object(t)["found"])
	w.want(400, "GET", "/followupboss/v1/people/checkDuplicate", nil, crm("lakeshore"))
}

func makeAtOnce(w *world, n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			_, err := w.try("POST", "/followupboss/v1/people?deduplicate=true", person("Mira", "mira@example.com", ""), crm("lakeshore"))
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestDeduplicationRacesAsNoVendorPromisesOtherwise(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	makeAtOnce(w, 8)
	require.Greater(t, len(w.found("lakeshore", "email=mira@example.com")), 1)
}

func TestStrictDeduplicationMakesOnePerson(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { o.StrictDedupe = true })
	makeAtOnce(w, 8)
	require.Len(t, w.found("lakeshore", "email=mira@example.com"), 1)
}

func TestUpdatingAPersonMovesItsTimeOnlyForAChange(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	path := "/followupboss/v1/people/" + id(p)
	w.clock.move(time.Minute)
	same := w.want(200, "PUT", path, map[string]any{"firstName": "Mira", "emails": []any{map[string]any{"value": "mira@example.com"}}}, crm("lakeshore")).object(t)
	require.Equal(t, p["updated"], same["updated"])
	next := w.want(200, "PUT", path, map[string]any{"stage": "Under Contract", "source": "elsewhere", "tags": []any{"a"}}, crm("lakeshore")).object(t)
	require.NotEqual(t, p["updated"], next["updated"])
	require.Equal(t, "Under Contract", next["stage"])
	require.Equal(t, p["source"], next["source"], "a source is for ever")
	merged := w.want(200, "PUT", path+"?mergeTags=true", map[string]any{"tags": []any{"a", "b"}, "name": "Selma Brandt"}, crm("lakeshore")).object(t)
	require.Equal(t, []any{"a", "b"}, merged["tags"])
	require.Equal(t, "Brandt", merged["lastName"])
	agent := w.users("lakeshore")["ada.quill@lakeshore.example.com"]
	owned := w.want(200, "PUT", path, map[string]any{"assignedUserId": agent["id"]}, crm("lakeshore")).object(t)
	require.Equal(t, "Ada Quill", owned["assignedTo"])

	for _, bad := range []any{
		map[string]any{"stage": "Nowhere"},
		map[string]any{"shoeSize": 42},
		map[string]any{"customX": 1},
		map[string]any{"assignedUserId": 1 << 40},
		map[string]any{"emails": "x"},
		map[string]any{"emails": []any{map[string]any{}}},
		"[]", "",
	} {
		require.Contains(t, w.want(400, "PUT", path, bad, crm("lakeshore")).object(t), "errorMessage", "%v", bad)
	}
	w.want(404, "PUT", "/followupboss/v1/people/999999", map[string]any{}, crm("lakeshore"))
}

func (w *world) users(tenant string) map[string]map[string]any {
	out := map[string]map[string]any{}
	got := w.want(200, "GET", "/followupboss/v1/users?limit=100", nil, crm(tenant)).object(w.t)
	for _, u := range got["users"].([]any) {
		user := u.(map[string]any)
		out[user["email"].(string)] = user
	}
	return out
}

func TestDeletedPeopleLieInTheTrash(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	w.want(204, "DELETE", "/followupboss/v1/people/"+id(p), nil, crm("lakeshore"))
	require.Empty(t, w.found("lakeshore", "email=mira@example.com"))
	require.Len(t, w.found("lakeshore", "email=mira@example.com&includeTrash=true"), 1)
	require.Equal(t, "Trash", w.want(200, "GET", "/followupboss/v1/people/"+id(p), nil, crm("lakeshore")).object(t)["stage"])
	again := w.want(201, "POST", "/followupboss/v1/people?deduplicate=true", person("Mira", "mira@example.com", ""), crm("lakeshore")).object(t)
	require.NotEqual(t, p["id"], again["id"])
	w.want(404, "DELETE", "/followupboss/v1/people/999999", nil, crm("lakeshore"))
}

func TestListsArePagedByOffsetAndNext(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for i := range 25 {
		w.control(200, "PUT", fmt.Sprintf("/followupboss/people/%d?tenant=lakeshore", 1000+i), map[string]any{"firstName": strconv.Itoa(i)})
	}
	got := w.want(200, "GET", "/followupboss/v1/people", nil, crm("lakeshore")).object(t)
	require.Len(t, got["people"], 10, "ten by default")
	require.Equal(t, "24", got["people"].([]any)[0].(map[string]any)["firstName"], "newest first")
	meta := got["_metadata"].(map[string]any)
	require.Equal(t, "people", meta["collection"])
	require.InDelta(t, 25, meta["total"], 0)

	seen := 0
	for next := ""; ; {
		page := w.want(200, "GET", "/followupboss/v1/people?limit=10&next="+next, nil, crm("lakeshore")).object(t)
		seen += len(page["people"].([]any))
		more, ok := page["_metadata"].(map[string]any)["next"].(string)
		if !ok {
			break
		}
		next = more
	}
	require.Equal(t, 25, seen)
	require.Len(t, w.found("lakeshore", "offset=20"), 5)
	require.Empty(t, w.found("lakeshore", "offset=30"))
	require.Len(t, w.found("lakeshore", "limit=1000"), 25)
	for _, bad := range []string{"limit=x", "limit=0", "offset=-1", "offset=2001", "next=AAAA", "next=%25"} {
		w.want(400, "GET", "/followupboss/v1/people?"+bad, nil, crm("lakeshore"))
	}
}

// stages are a tenant's deal stages by name.
func (w *world) dealStages(tenant string) map[string]any {
	w.t.Helper()
	out := map[string]any{}
	got := w.want(200, "GET", "/followupboss/v1/pipelines", nil, crm(tenant)).object(w.t)
	for _, s := range got["pipelines"].([]any)[0].(map[string]any)["stages"].([]any) {
		stage := s.(map[string]any)
		out[stage["name"].(string)] = stage["id"]
	}
	return out
}

func TestDealsStandInAPipelineWithPeopleAndACustomKey(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	stages := w.dealStages("lakeshore")
	require.Contains(t, stages, "Fell Through", "what the configuration names is there")
	fields := w.want(200, "GET", "/followupboss/v1/dealCustomFields", nil, crm("lakeshore")).object(t)
	require.Equal(t, "customConveyanceKey", fields["dealcustomfields"].([]any)[0].(map[string]any)["name"])

	d := w.create("lakeshore", "/deals", map[string]any{
		"name": "12 Mill Pond Road", "stageId": stages["Pending"], "price": 525000, "projectedCloseDate": "2026-04-01",
		"peopleIds": []any{p["id"], p["id"]}, "customConveyanceKey": "lakeshore/skyslope/main/sale/g",
	})
	require.Equal(t, "Pending", d["stageName"])
	require.Equal(t, "Transactions", d["pipelineName"])
	require.Len(t, d["people"], 1)
	require.NotContains(t, d, "customConveyanceKey", "custom fields are asked for")
	path := "/followupboss/v1/deals/" + id(d)
	all := w.want(200, "GET", path+"?fields=allFields", nil, crm("lakeshore")).object(t)
	require.Equal(t, "lakeshore/skyslope/main/sale/g", all["customConveyanceKey"])
	require.Equal(t, map[string]any{"id": d["id"], "price": d["price"]}, w.want(200, "GET", path+"?fields=price", nil, crm("lakeshore")).object(t))

	changed := w.want(200, "PUT", path, map[string]any{"stageId": stages["Closed"], "price": nil}, crm("lakeshore")).object(t)
	require.Equal(t, "Closed", changed["stageName"])
	require.Nil(t, changed["price"])
	list := w.want(200, "GET", "/followupboss/v1/deals?fields=allFields&personId="+id(p), nil, crm("lakeshore")).object(t)
	require.Len(t, list["deals"], 1)
	none := w.want(200, "GET", "/followupboss/v1/deals?personId=1", nil, crm("lakeshore")).object(t)
	require.Empty(t, none["deals"])

	for _, bad := range []map[string]any{
		{"name": "x"},
		{"stageId": stages["Closed"]},
		{"name": "x", "stageId": 1},
		{"name": "x", "stageId": stages["Closed"], "price": "5"},
		{"name": "x", "stageId": stages["Closed"], "peopleIds": []any{999999}},
		{"name": "x", "stageId": stages["Closed"], "customFoo": 1},
		{"name": "x", "stageId": stages["Closed"], "projectedCloseDate": "soon"},
		{"name": 5, "stageId": stages["Closed"]},
	} {
		require.Contains(t, w.want(400, "POST", "/followupboss/v1/deals", bad, crm("lakeshore")).object(t), "errorMessage", "%v", bad)
	}
	w.want(204, "DELETE", path, nil, crm("lakeshore"))
	w.want(404, "GET", path, nil, crm("lakeshore"))
}

func TestMissingStagesAndFieldsCanBeMade(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, s := range w.control(200, "GET", "/followupboss/stages?tenant=lakeshore", nil).list(t) {
		if s["name"] == "Under Contract" {
			w.control(204, "DELETE", "/followupboss/stages/"+id(s)+"?tenant=lakeshore", nil)
		}
	}
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	path := "/followupboss/v1/people/" + id(p)
	w.want(400, "PUT", path, map[string]any{"stage": "Under Contract"}, crm("lakeshore"))
	w.create("lakeshore", "/stages", map[string]any{"name": "Under Contract"})
	w.want(400, "POST", "/followupboss/v1/stages", map[string]any{"name": "Under Contract"}, crm("lakeshore"))
	w.want(200, "PUT", path, map[string]any{"stage": "Under Contract"}, crm("lakeshore"))

	pipe := w.want(200, "GET", "/followupboss/v1/pipelines", nil, crm("lakeshore")).object(t)["pipelines"].([]any)[0].(map[string]any)
	pipe["stages"] = append(pipe["stages"].([]any), map[string]any{"name": "Withdrawn"})
	w.want(200, "PUT", "/followupboss/v1/pipelines/"+id(pipe), map[string]any{"stages": pipe["stages"]}, crm("lakeshore"))
	require.Contains(t, w.dealStages("lakeshore"), "Withdrawn")

	field := w.create("lakeshore", "/dealCustomFields", map[string]any{"label": "close price", "type": "number"})
	require.Equal(t, "customClosePrice", field["name"])
	w.create("lakeshore", "/deals", map[string]any{"name": "x", "stageId": w.dealStages("lakeshore")["Offer"], "customClosePrice": 5})
	w.want(400, "POST", "/followupboss/v1/customFields", map[string]any{"label": "!", "type": "text"}, crm("lakeshore"))
	w.want(400, "POST", "/followupboss/v1/customFields", map[string]any{"label": "x", "type": "color"}, crm("lakeshore"))
}

func TestNotesBelongToAPerson(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	n := w.create("lakeshore", "/notes", map[string]any{"personId": p["id"], "subject": "Under contract", "body": "b"})
	path := "/followupboss/v1/notes/" + id(n)
	w.want(200, "PUT", path, map[string]any{"body": "c", "personId": 1}, crm("lakeshore"))
	got := w.want(200, "GET", path, nil, crm("lakeshore")).object(t)
	require.Equal(t, p["id"], got["personId"])
	require.Equal(t, "c", got["body"])
	w.want(400, "POST", "/followupboss/v1/notes", map[string]any{"personId": 1}, crm("lakeshore"))
	w.want(204, "DELETE", path, nil, crm("lakeshore"))
	w.want(404, "GET", "/followupboss/v1/notes", nil, crm("lakeshore"))
}

func TestEventsRunTheLeadFlow(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	lead := map[string]any{"source": "site", "type": "Registration", "person": person("Mira", "mira@example.com", "")}
	made := w.create("lakeshore", "/events", lead)
	again := w.want(200, "POST", "/followupboss/v1/events", lead, crm("lakeshore")).object(t)
	require.Equal(t, made["id"], again["id"])
	w.want(404, "POST", "/followupboss/v1/events", map[string]any{"person": map[string]any{"id": 999999}}, crm("lakeshore"))
	w.want(400, "POST", "/followupboss/v1/events", map[string]any{}, crm("lakeshore"))
	events := w.control(200, "GET", "/followupboss/events?tenant=lakeshore", nil).list(t)
	require.Len(t, events, 2)
	require.Equal(t, true, events[0]["startedActionPlans"])
	require.Len(t, w.want(200, "GET", "/followupboss/v1/events?personId="+id(made), nil, crm("lakeshore")).object(t)["events"], 2)
}

func TestEveryContextHasItsOwnSlidingWindow(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	p := w.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	path := "/followupboss/v1/people/" + id(p)
	for i := range 25 {
		a := w.want(200, "PUT", path, map[string]any{"firstName": strconv.Itoa(i)}, crm("lakeshore"))
		require.Equal(t, "PUT.people", a.header.Get("X-Ratelimit-Context"))
		require.Equal(t, strconv.Itoa(24-i), a.header.Get("X-Ratelimit-Remaining"))
		require.Equal(t, "25", a.header.Get("X-Ratelimit-Limit"))
		require.Equal(t, "10", a.header.Get("X-Ratelimit-Window"))
	}
	w.clock.move(7500 * time.Millisecond)
	a := w.want(429, "PUT", path, map[string]any{"firstName": "not done"}, crm("lakeshore"))
	require.Equal(t, "3", a.header.Get("Retry-After"))
	require.Contains(t, string(a.body), "not processed")
	require.Equal(t, "24", w.want(200, "GET", path, nil, crm("lakeshore")).object(t)["firstName"], "another context")
	w.clock.move(2500 * time.Millisecond)
	w.want(200, "PUT", path, map[string]any{"firstName": "done"}, crm("lakeshore"))
}

func TestUnregisteredSystemsHaveHalfTheQuota(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	plain := http.Header{"Authorization": crm("lakeshore")["Authorization"]}
	require.Equal(t, "125", w.want(200, "GET", "/followupboss/v1/identity", nil, plain).header.Get("X-Ratelimit-Limit"))
	wrong := crm("lakeshore")
	wrong.Set("X-System-Key", "guess")
	require.Equal(t, "125", w.want(200, "GET", "/followupboss/v1/identity", nil, wrong).header.Get("X-Ratelimit-Limit"))
	require.Equal(t, "250", w.want(200, "GET", "/followupboss/v1/identity", nil, crm("lakeshore")).header.Get("X-Ratelimit-Limit"))
	w.want(403, "GET", "/followupboss/v1/rateLimit/limits", nil, plain)
	limits := w.want(200, "GET", "/followupboss/v1/rateLimit/limits", nil, crm("lakeshore")).object(t)
	require.Len(t, limits["limits"], 6)
	usage := w.want(200, "GET", "/followupboss/v1/rateLimit/usage", nil, crm("lakeshore")).object(t)
	require.Equal(t, map[string]any{"context": "global", "limit": 250.0, "used": 1.0}, usage["usage"].([]any)[0])
}
