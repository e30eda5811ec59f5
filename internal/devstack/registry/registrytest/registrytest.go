// Package registrytest is what any schema registry must do for Conveyance, as a suite that runs
// against a URL: the embedded registry in our tests, a real one where there is one. It leaves
// softly deleted subjects named conformance-* behind, and the global level as it found it.
package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Difference is a way in which a real registry is known to answer otherwise than Confluent's.
type Difference string

// What Apicurio 3.3 does otherwise under its Confluent interface, seen by running the suite.
const (
	// DefaultLevelNone: nothing is checked until a level is set.
	DefaultLevelNone Difference = "the default level is NONE"
	// SilentChecks: a check says false without a message, verbose or not.
	SilentChecks Difference = "checks give no messages"
	// LevelFallsBack: a subject without its own level answers the global one, not 40408.
	LevelFallsBack Difference = "a subject's level falls back to the global one"
	// EmptySchemas: a text of nothing is accepted.
	EmptySchemas Difference = "an empty schema is accepted"
	// ModeNotEnforced: a subject in mode READONLY takes registrations.
	ModeNotEnforced Difference = "a subject's mode is not enforced"
	// ImportIgnoresIDs: mode IMPORT is accepted, and ids are still given by the registry.
	ImportIgnoresIDs Difference = "import gives its own ids"
	// DeletesAgain: deleting a subject names versions that were deleted before.
	DeletesAgain Difference = "deletes what is deleted"
	// OtherCodes: a version that is no number, and deletions in the wrong order, are refused with
	// another status or code.
	OtherCodes Difference = "some refusals carry other codes"
	// DeletedRefers: a deleted schema still holds what it refers to.
	DeletedRefers Difference = "a deleted schema still refers"
	// ListHasNoIDs: the list of all schemas carries no ids and ignores subjectPrefix.
	ListHasNoIDs Difference = "the list of schemas has no ids"
)

// Apicurio is every difference of Apicurio 3.3.
func Apicurio() []Difference {
	return []Difference{
		DefaultLevelNone, SilentChecks, LevelFallsBack, EmptySchemas, ModeNotEnforced,
		ImportIgnoresIDs, DeletesAgain, OtherCodes, DeletedRefers, ListHasNoIDs,
	}
}

// suite is one run against one registry.
type suite struct {
	url   string // without a slash at the end
	run   string // prefix of its subjects
	known []Difference
}

// Run holds the registry at url against the suite; known are differences that it may have.
func Run(t *testing.T, url string, known ...Difference) {
	s := &suite{
		url:   strings.TrimSuffix(url, "/"),
		run:   fmt.Sprintf("conformance-%d-", time.Now().UnixNano()),
		known: known,
	}
	t.Run("Identity", s.identity)
	t.Run("Refusals", s.refusals)
	t.Run("Levels", s.levels)
	t.Run("Settings", s.settings)
	t.Run("Deletion", s.deletion)
	t.Run("References", s.references)
	t.Run("Import", s.imports)
	t.Run("Shapes", s.shapes)
	t.Run("Differences", s.stillDiffers)
}

func (s *suite) differs(d Difference) bool { return slices.Contains(s.known, d) }

// answer is what came back; its fields are those of every endpoint that the suite reads.
type answer struct {
	status int
	body   []byte

	ID         int      `json:"id"`
	Version    int      `json:"version"`
	Subject    string   `json:"subject"`
	Schema     string   `json:"schema"`
	Code       int      `json:"error_code"`
	Message    string   `json:"message"`
	Compatible bool     `json:"is_compatible"`
	Messages   []string `json:"messages"`
	Level      string   `json:"compatibilityLevel"`
	Mode       string   `json:"mode"`
}

func (s *suite) call(t *testing.T, method, path string, body any) answer {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(text))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode}
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = json.Unmarshal(a.body, &a) // lists and texts stay in body
	return a
}

// ok is call for what must succeed.
func (s *suite) ok(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a := s.call(t, method, path, body)
	require.Equal(t, http.StatusOK, a.status, "%s %s: %s", method, path, a.body)
	return a
}

// refused is call for what must fail with Confluent's status and code.
func (s *suite) refused(t *testing.T, status, code int, method, path string, body any) {
	t.Helper()
	a := s.call(t, method, path, body)
	if s.differs(OtherCodes) && (code == 42202 || code >= 40405 && code <= 40407) {
		status, code = a.status, a.Code
		require.GreaterOrEqual(t, status, http.StatusBadRequest, "%s %s: %s", method, path, a.body)
	}
	require.Equal(t, [2]int{status, code}, [2]int{a.status, a.Code}, "%s %s: %s", method, path, a.body)
	require.NotEmpty(t, a.Message)
}

func (a answer) list(t *testing.T) []int {
	t.Helper()
	var list []int
	require.NoError(t, json.Unmarshal(a.body, &list), "%s", a.body)
	return list
}

func (a answer) names(t *testing.T) []string {
	t.Helper()
	var names []string
	require.NoError(t, json.Unmarshal(a.body, &names), "%s", a.body)
	return names
}

func of(text string) map[string]any { return map[string]any{"schema": text} }

func (s *suite) register(t *testing.T, subject, text string) answer {
	t.Helper()
	return s.ok(t, http.MethodPost, "/subjects/"+subject+"/versions", of(text))
}

func (s *suite) setLevel(t *testing.T, subject, level string) {
	t.Helper()
	s.ok(t, http.MethodPut, "/config/"+subject, map[string]string{"compatibility": level})
}
