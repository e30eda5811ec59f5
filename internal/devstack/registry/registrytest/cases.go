package registrytest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	deal = `{"type":"record","name":"Deal","namespace":"check","doc":"a deal","fields":[
 {"name":"id","type":"string","doc":"its id","pii":"no"},
 {"name":"price","type":"long","default":0},
 {"name":"status","type":{"type":"enum","name":"Status","symbols":["UNKNOWN","OPEN"],"default":"UNKNOWN"}}]}`
	withDefault    = `,{"name":"closed_at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null}`
	withOther      = `,{"name":"agent","type":"string","default":""}`
	withoutDefault = `,{"name":"agent","type":"string"}`
)

func with(fields string) string { return strings.TrimSuffix(deal, "]}") + fields + "]}" }

// renamed gives a schema that no other test registers, so that its id is this test's own.
func (s *suite) renamed(t *testing.T, text string) string {
	return strings.Replace(text, `"Deal"`, `"Deal`+strings.NewReplacer("/", "_", "-", "_").Replace(s.run+t.Name())+`"`, 1)
}

func (s *suite) identity(t *testing.T) {
	subject, other, text := s.run+"deal", s.run+"other", s.renamed(t, deal)
	first := s.register(t, subject, text)
	require.Positive(t, first.ID)
	again := s.register(t, subject, strings.Join(strings.Fields(text), " "))
	require.Equal(t, first.ID, again.ID, "white space makes no schema")
	require.Equal(t, []int{1}, s.ok(t, "GET", "/subjects/"+subject+"/versions", nil).list(t))
	require.Equal(t, first.ID, s.register(t, other, text).ID, "one schema, one id, whatever the subject")

	id := "/schemas/ids/" + strconv.Itoa(first.ID)
	require.JSONEq(t, text, s.ok(t, "GET", id, nil).Schema, "docs, defaults and attributes are kept")
	require.ElementsMatch(t, []string{subject, other}, s.ok(t, "GET", id+"/subjects", nil).names(t))
	found := s.ok(t, "POST", "/subjects/"+subject, of(text))
	require.Equal(t, []any{subject, 1, first.ID}, []any{found.Subject, found.Version, found.ID})

	second := s.register(t, subject, strings.TrimSuffix(text, "]}")+withDefault+"]}")
	require.Greater(t, second.ID, first.ID, "ids only grow")
	newest := s.ok(t, "GET", "/subjects/"+subject+"/versions/latest", nil)
	require.Equal(t, []int{2, second.ID}, []int{newest.Version, newest.ID})
	require.Equal(t, first.ID, s.ok(t, "GET", "/subjects/"+subject+"/versions/1", nil).ID)
}

func (s *suite) refusals(t *testing.T) {
	subject := s.run + "refusals"
	s.refused(t, 404, 40401, "GET", "/subjects/"+subject+"/versions", nil)
	s.refused(t, 404, 40401, "GET", "/subjects/"+subject+"/versions/latest", nil)
	s.refused(t, 404, 40401, "POST", "/subjects/"+subject, of(deal))
	s.refused(t, 404, 40403, "GET", "/schemas/ids/99999999", nil)
	invalid := []string{`{"type":"recrd"}`, `{`, `{"type":"record","name":"A","fields":[{"name":"x","type":"int","default":"no"}]}`}
	if !s.differs(EmptySchemas) {
		invalid = append(invalid, ``)
	}
	for _, text := range invalid {
		s.refused(t, 422, 42201, "POST", "/subjects/"+subject+"/versions", of(text))
	}
	s.refused(t, 404, 40401, "GET", "/subjects/"+subject+"/versions", nil)
	s.register(t, subject, deal)
	s.refused(t, 404, 40402, "GET", "/subjects/"+subject+"/versions/99", nil)
	s.refused(t, 422, 42202, "GET", "/subjects/"+subject+"/versions/first", nil)
	s.refused(t, 404, 40403, "POST", "/subjects/"+subject, of(`"string"`))
	s.refused(t, 422, 42203, "PUT", "/config/"+subject, map[string]string{"compatibility": "SIDEWAYS"})
}

// levels tries each level with changes that it must take and changes that it must not.
func (s *suite) levels(t *testing.T) {
	const takes, breaks = true, false
	removed := strings.Replace(deal, `{"name":"id","type":"string","doc":"its id","pii":"no"},`, "", 1)
	retyped := strings.Replace(deal, `{"name":"id","type":"string"`, `{"name":"id","type":"long"`, 1)
	for name, c := range map[string]struct {
		level string
		next  string
		want  bool
	}{
		"BACKWARD takes a field with a default":        {"BACKWARD", with(withDefault), takes},
		"BACKWARD refuses a field without one":         {"BACKWARD", with(withoutDefault), breaks},
		"BACKWARD takes a removed field":               {"BACKWARD", removed, takes},
		"FORWARD takes a field without a default":      {"FORWARD", with(withoutDefault), takes},
		"FORWARD refuses a removed field":              {"FORWARD", removed, breaks},
		"FULL takes a field with a default":            {"FULL", with(withDefault), takes},
		"FULL refuses a field without one":             {"FULL", with(withoutDefault), breaks},
		"FULL refuses a removed field":                 {"FULL", removed, breaks},
		"FULL refuses another type":                    {"FULL", retyped, breaks},
		"FULL takes a symbol where there is a default": {"FULL", strings.Replace(deal, `"OPEN"]`, `"OPEN","CLOSED"]`, 1), takes},
		"BACKWARD refuses a narrower type":             {"BACKWARD", strings.Replace(deal, `"type":"long"`, `"type":"int"`, 1), breaks},
		"FORWARD takes a narrower type":                {"FORWARD", strings.Replace(deal, `"type":"long"`, `"type":"int"`, 1), takes},
		"BACKWARD refuses another record name":         {"BACKWARD", strings.Replace(deal, `"Deal"`, `"Bargain"`, 1), breaks},
		"NONE takes anything":                          {"NONE", `"string"`, takes},
	} {
		t.Run(name, func(t *testing.T) {
			subject := s.run + strings.ReplaceAll(name, " ", "_")
			s.register(t, subject, deal)
			s.setLevel(t, subject, c.level)
			s.holds(t, subject, c.next, c.want)
		})
	}
	t.Run("a level is transitive only where it says so", s.transitive)
	if !s.differs(DefaultLevelNone) {
		t.Run("the default is BACKWARD", func(t *testing.T) {
			s.register(t, s.run+"default", deal)
			s.holds(t, s.run+"default", with(withoutDefault), breaks)
		})
	}
	t.Run("everything is compatible with nothing", func(t *testing.T) {
		require.True(t, s.ok(t, "POST", "/compatibility/subjects/"+s.run+"none/versions/latest", of(deal)).Compatible)
	})
}

// holds checks and registers: both must say the same.
func (s *suite) holds(t *testing.T, subject, next string, want bool) {
	t.Helper()
	check := "/compatibility/subjects/" + subject + "/versions"
	for _, path := range []string{check, check + "/latest"} {
		a := s.ok(t, "POST", path+"?verbose=true", of(next))
		require.Equal(t, want, a.Compatible, "%s: %s", path, a.body)
		if !want && !s.differs(SilentChecks) {
			require.NotEmpty(t, a.Messages)
			require.Empty(t, s.ok(t, "POST", path, of(next)).Messages, "not asked for")
		}
	}
	if want {
		require.Equal(t, 200, s.call(t, "POST", "/subjects/"+subject+"/versions", of(next)).status)
		return
	}
	a := s.call(t, "POST", "/subjects/"+subject+"/versions", of(next))
	require.Equal(t, []int{409, 409}, []int{a.status, a.Code}, "%s", a.body)
	require.NotEmpty(t, a.Message)
}

// transitive: a field that comes back with another type breaks an old version only.
func (s *suite) transitive(t *testing.T) {
	back := with(strings.Replace(withDefault, `{"type":"long","logicalType":"timestamp-millis"}`, `"string"`, 1))
	for level, want := range map[string]bool{
		"BACKWARD": true, "BACKWARD_TRANSITIVE": false, "FORWARD": true, "FORWARD_TRANSITIVE": false, "FULL": true, "FULL_TRANSITIVE": false,
	} {
		subject := s.run + level
		s.register(t, subject, with(withDefault))
		s.setLevel(t, subject, level)
		s.register(t, subject, with(withOther))
		a := s.call(t, "POST", "/subjects/"+subject+"/versions", of(back))
		require.Equal(t, want, a.status == 200, "%s: %s", level, a.body)
	}
}

func (s *suite) settings(t *testing.T) {
	subject := s.run + "settings"
	s.register(t, subject, deal)
	for root, c := range map[string]struct{ key, value, global string }{
		"/config": {"compatibility", "FULL_TRANSITIVE", "BACKWARD"},
		"/mode":   {"mode", "READONLY", "READWRITE"},
	} {
		own := root + "/" + subject
		if !s.differs(DefaultLevelNone) {
			require.Equal(t, c.global, setting(s.ok(t, "GET", root, nil)))
		}
		if !s.differs(LevelFallsBack) {
			s.refused(t, 404, map[string]int{"/config": 40408, "/mode": 40409}[root], "GET", own, nil)
			require.Equal(t, c.global, setting(s.ok(t, "GET", own+"?defaultToGlobal=true", nil)))
		}
		s.ok(t, "PUT", own, map[string]any{c.key: c.value, "compatibilityGroup": "application.major"})
		require.Equal(t, c.value, setting(s.ok(t, "GET", own, nil)))
		if root == "/mode" && !s.differs(ModeNotEnforced) {
			s.refused(t, 422, 42205, "POST", "/subjects/"+subject+"/versions", of(with(withDefault)))
		}
		s.ok(t, "DELETE", own, nil)
		if !s.differs(LevelFallsBack) {
			s.refused(t, 404, 40401, "DELETE", own, nil)
		}
	}
	s.register(t, subject, with(withDefault))
	if s.differs(DefaultLevelNone) {
		return
	}
	s.ok(t, "PUT", "/config", map[string]string{"compatibility": "FULL"})
	require.Equal(t, "FULL", setting(s.ok(t, "GET", "/config", nil)))
	s.ok(t, "DELETE", "/config", nil)
	require.Equal(t, "BACKWARD", setting(s.ok(t, "GET", "/config", nil)))
}

func setting(a answer) string { return a.Level + a.Mode }

func (s *suite) deletion(t *testing.T) {
	subject, text := s.run+"deletion", s.renamed(t, deal)
	path := "/subjects/" + subject
	first := s.register(t, subject, text)
	s.register(t, subject, strings.TrimSuffix(text, "]}")+withDefault+"]}")

	require.Equal(t, "2", strings.TrimSpace(string(s.ok(t, "DELETE", path+"/versions/latest", nil).body)))
	require.Equal(t, []int{1}, s.ok(t, "GET", path+"/versions", nil).list(t))
	require.Equal(t, []int{1, 2}, s.ok(t, "GET", path+"/versions?deleted=true", nil).list(t))
	s.refused(t, 404, 40406, "DELETE", path+"/versions/2", nil)
	s.refused(t, 404, 40407, "DELETE", path+"/versions/1?permanent=true", nil)
	s.refused(t, 404, 40405, "DELETE", path+"?permanent=true", nil)

	if gone := s.ok(t, "DELETE", path, nil).list(t); !s.differs(DeletesAgain) {
		require.Equal(t, []int{1}, gone)
	}
	s.refused(t, 404, 40401, "GET", path+"/versions", nil)
	s.refused(t, 404, 40404, "DELETE", path, nil)
	require.NotContains(t, s.ok(t, "GET", "/subjects", nil).names(t), subject)
	require.Contains(t, s.ok(t, "GET", "/subjects?deleted=true", nil).names(t), subject)
	require.JSONEq(t, text, s.ok(t, "GET", "/schemas/ids/"+strconv.Itoa(first.ID), nil).Schema, "records of it are still there")

	require.Equal(t, first.ID, s.register(t, subject, text).ID, "registered again: the same id")
	require.Equal(t, []int{3}, s.ok(t, "GET", path+"/versions", nil).list(t), "version numbers go on")
	s.ok(t, "DELETE", path, nil)
	require.Equal(t, []int{1, 2, 3}, s.ok(t, "DELETE", path+"?permanent=true", nil).list(t))
	s.refused(t, 404, 40401, "DELETE", path, nil)
}

func (s *suite) references(t *testing.T) {
	name := s.run + "part"
	s.register(t, name, deal)
	holder := map[string]any{
		"schema":     `{"type":"record","name":"Holder","fields":[{"name":"deal","type":"check.Deal"}]}`,
		"references": []map[string]any{{"name": "check.Deal", "subject": name, "version": 1}},
	}
	whole := "/subjects/" + s.run + "whole"
	id := s.ok(t, "POST", whole+"/versions", holder).ID
	require.Equal(t, []int{id}, s.ok(t, "GET", "/subjects/"+name+"/versions/1/referencedby", nil).list(t))
	require.Contains(t, string(s.ok(t, "GET", whole+"/versions/1", nil).body), `"references"`)
	s.refused(t, 422, 42206, "DELETE", "/subjects/"+name, nil)
	s.refused(t, 422, 42201, "POST", whole+"/versions", of(holder["schema"].(string)))
	s.ok(t, "DELETE", whole, nil)
	if !s.differs(DeletedRefers) {
		s.ok(t, "DELETE", "/subjects/"+name, nil)
	}
}

func (s *suite) imports(t *testing.T) {
	if s.differs(ImportIgnoresIDs) {
		t.Skip("this registry gives its own ids in mode IMPORT")
	}
	subject, text := s.run+"import", s.renamed(t, deal)
	given := map[string]any{"schema": text, "id": s.register(t, s.run+"before", deal).ID + 70000, "version": 3}
	s.refused(t, 422, 42205, "POST", "/subjects/"+subject+"/versions", given)
	s.ok(t, "PUT", "/mode/"+subject, map[string]string{"mode": "IMPORT"})
	require.Equal(t, given["id"], s.ok(t, "POST", "/subjects/"+subject+"/versions", given).ID)
	require.Equal(t, given["id"], s.ok(t, "POST", "/subjects/"+subject+"/versions", given).ID, "twice is once")
	require.Equal(t, []int{3}, s.ok(t, "GET", "/subjects/"+subject+"/versions", nil).list(t))
	given["schema"] = `"string"`
	s.refused(t, 422, 42205, "POST", "/subjects/"+subject+"/versions", given)
	s.ok(t, "DELETE", "/mode/"+subject, nil)
}

// shapes are the small things that clients trip over.
func (s *suite) shapes(t *testing.T) {
	subject := s.run + "shapes"
	registered := s.ok(t, "POST", "/subjects/"+subject+"/versions", map[string]any{
		"schema": deal, "schemaType": "AVRO", "metadata": nil, "ruleSet": nil, "unheard-of": 1,
	})
	if !s.differs(ListHasNoIDs) {
		var all []answer
		require.NoError(t, json.Unmarshal(s.ok(t, "GET", "/schemas?subjectPrefix="+subject, nil).body, &all))
		require.Len(t, all, 1)
		require.Equal(t, registered.ID, all[0].ID)
	}
	require.Contains(t, s.ok(t, "GET", "/schemas/types", nil).names(t), "AVRO")
	require.JSONEq(t, deal, string(s.ok(t, "GET", "/subjects/"+subject+"/versions/1/schema", nil).body))
	require.Equal(t, http.StatusNotFound, s.call(t, "GET", "/nowhere", nil).status)
}
