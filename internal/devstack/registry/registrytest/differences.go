package registrytest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stillDiffers asks for each listed difference alone, so that a newer registry that answers as Confluent's
// does is noticed, and its difference struck from the list.
func (s *suite) stillDiffers(t *testing.T) {
	probes := map[Difference]func(*testing.T) bool{
		DefaultLevelNone: s.checksNothingByDefault,
		SilentChecks:     s.checksSilently,
		LevelFallsBack: func(t *testing.T) bool {
			return s.call(t, http.MethodGet, "/config/"+s.fresh(t), nil).status == http.StatusOK
		},
		EmptySchemas: func(t *testing.T) bool {
			return s.call(t, http.MethodPost, s.versions(t), of("")).status == http.StatusOK
		},
		ModeNotEnforced:  s.readOnlyTakes,
		ImportIgnoresIDs: s.importIgnores,
		DeletesAgain:     s.deletesAgain,
		OtherCodes: func(t *testing.T) bool {
			return s.call(t, http.MethodGet, "/subjects/"+s.fresh(t)+"/versions/first", nil).Code != 42202
		},
		DeletedRefers: s.deletedRefers,
		ListHasNoIDs: func(t *testing.T) bool {
			return !strings.Contains(string(s.ok(t, http.MethodGet, "/schemas?subjectPrefix="+s.fresh(t), nil).body), `"id"`)
		},
	}
	for _, d := range s.known {
		t.Run(string(d), func(t *testing.T) {
			require.True(t, probes[d](t), "it answers as Confluent's now: strike it from the list")
		})
	}
}

// subject is a name of the running test's own.
func (s *suite) subject(t *testing.T) string {
	return s.run + strings.NewReplacer("/", "-", "'", "-").Replace(t.Name())
}

// fresh is a subject of the running test with one schema.
func (s *suite) fresh(t *testing.T) string {
	t.Helper()
	subject := s.subject(t)
	s.register(t, subject, deal)
	return subject
}

func (s *suite) versions(t *testing.T) string {
	return "/subjects/" + s.subject(t) + "/versions"
}

func (s *suite) checksNothingByDefault(t *testing.T) bool {
	was := setting(s.ok(t, http.MethodGet, "/config", nil))
	s.ok(t, http.MethodDelete, "/config", nil)
	taken := s.call(t, http.MethodPost, "/subjects/"+s.fresh(t)+"/versions", of(with(withoutDefault))).status == http.StatusOK
	s.ok(t, http.MethodPut, "/config", map[string]string{"compatibility": was})
	return taken
}

func (s *suite) checksSilently(t *testing.T) bool {
	subject := s.fresh(t)
	s.setLevel(t, subject, "FULL")
	a := s.ok(t, http.MethodPost, "/compatibility/subjects/"+subject+"/versions/latest?verbose=true", of(with(withoutDefault)))
	return !a.Compatible && len(a.Messages) == 0
}

func (s *suite) readOnlyTakes(t *testing.T) bool {
	subject := s.fresh(t)
	s.ok(t, http.MethodPut, "/mode/"+subject, map[string]string{"mode": "READONLY"})
	return s.call(t, http.MethodPost, "/subjects/"+subject+"/versions", of(with(withDefault))).status == http.StatusOK
}

func (s *suite) importIgnores(t *testing.T) bool {
	s.ok(t, http.MethodPut, "/mode/"+s.subject(t), map[string]string{"mode": "IMPORT"})
	given := map[string]any{"schema": s.renamed(t, deal), "id": 700001, "version": 3}
	return s.ok(t, http.MethodPost, s.versions(t), given).ID != given["id"]
}

func (s *suite) deletesAgain(t *testing.T) bool {
	subject := s.fresh(t)
	s.register(t, subject, with(withDefault))
	s.ok(t, http.MethodDelete, "/subjects/"+subject+"/versions/2", nil)
	return len(s.ok(t, http.MethodDelete, "/subjects/"+subject, nil).list(t)) > 1
}

func (s *suite) deletedRefers(t *testing.T) bool {
	name, whole := s.fresh(t), "/subjects/"+s.subject(t)+"-whole"
	s.ok(t, http.MethodPost, whole+"/versions", map[string]any{
		"schema":     `{"type":"record","name":"Holder","fields":[{"name":"deal","type":"check.Deal"}]}`,
		"references": []map[string]any{{"name": "check.Deal", "subject": name, "version": 1}},
	})
	s.ok(t, http.MethodDelete, whole, nil)
	return s.call(t, http.MethodDelete, "/subjects/"+name, nil).status != http.StatusOK
}
