package registry_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/schema"
	"conveyance/internal/devstack/registry"
	"conveyance/internal/devstack/registry/registrytest"
)

func open(t testing.TB, path string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func serve(t testing.TB, r *registry.Registry) (string, *sr.Client) {
	t.Helper()
	srv := httptest.NewServer(r.Handler())
	t.Cleanup(srv.Close)
	cl, err := sr.NewClient(sr.URLs(srv.URL))
	require.NoError(t, err)
	return srv.URL, cl
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(t.TempDir(), "registry.json")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := serve(t, open(t, path))
			registrytest.Run(t, url)
		})
	}
}

// TestConformanceOfRealRegistry holds a real registry against the same suite, where there is one.
func TestConformanceOfRealRegistry(t *testing.T) {
	t.Parallel()
	url := os.Getenv("CONVEYANCE_TEST_REGISTRY")
	if url == "" {
		t.Skip("CONVEYANCE_TEST_REGISTRY names no registry (an Apicurio: end the URL in /apis/ccompat/v7)")
	}
	var known []registrytest.Difference
	if strings.Contains(url, "/apis/ccompat/") {
		known = registrytest.Apicurio()
	}
	registrytest.Run(t, url, known...)
}

func TestEverySchemaOfOursRegistersOnce(t *testing.T) {
	t.Parallel()
	_, cl := serve(t, open(t, ""))
	ids := map[int]bool{}
	for name, text := range schema.All() {
		first, err := cl.CreateSchema(t.Context(), "conveyance.deals.v1-"+name, sr.Schema{Schema: text})
		require.NoError(t, err)
		again, err := cl.CreateSchema(t.Context(), "conveyance.deals.v1-"+name, sr.Schema{Schema: text})
		require.NoError(t, err)
		require.Equal(t, first.ID, again.ID)
		ids[first.ID] = true
		back, err := cl.SchemaByID(t.Context(), first.ID)
		require.NoError(t, err)
		require.Equal(t, text, back.Schema, "byte for byte")
	}
	require.Len(t, ids, len(schema.All()))
}

func TestRefusalSaysWhichFieldWhichReaderAndWhichVersion(t *testing.T) {
	t.Parallel()
	_, cl := serve(t, open(t, ""))
	before := `{"type":"record","name":"Deal","fields":[{"name":"id","type":"string"}]}`
	after := `{"type":"record","name":"Deal","fields":[{"name":"agent","type":"string"}]}`
	_, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: before})
	require.NoError(t, err)
	require.NoError(t, cl.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFullTransitive}, "s")[0].Err)
	_, err = cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: after})
	refusal, ok := errors.AsType[*sr.ResponseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []int{http.StatusConflict, 409}, []int{refusal.StatusCode, refusal.ErrorCode})
	require.Contains(t, refusal.Message, "FULL_TRANSITIVE: the new schema cannot read what version 1 wrote, at agent: reader field has no default")
	require.Contains(t, refusal.Message, "FULL_TRANSITIVE: version 1 cannot read what the new schema wrote, at id: reader field has no default")
}

func TestNormalizeFindsOneSchemaBehindTwoSpellings(t *testing.T) {
	t.Parallel()
	_, cl := serve(t, open(t, ""))
	long := `{"type":"record","name":"Deal","namespace":"a.b","fields":[
		{"name":"id","type":{"type":"string"}},{"name":"next","type":["null","Deal"],"default":null}]}`
	short := `{"fields":[{"type":"string","name":"id"},{"name":"next","type":["null","a.b.Deal"],"default":null}],"name":"a.b.Deal","type":"record"}`
	first, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: long})
	require.NoError(t, err)
	plain, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: short})
	require.NoError(t, err)
	require.NotEqual(t, first.ID, plain.ID)
	normal, err := cl.CreateSchema(sr.WithParams(t.Context(), sr.Normalize), "t", sr.Schema{Schema: short})
	require.NoError(t, err)
	require.Equal(t, first.ID, normal.ID)
	other := strings.Replace(short, `"default":null`, `"default":null,"doc":"d"`, 1)
	documented, err := cl.CreateSchema(sr.WithParams(t.Context(), sr.Normalize), "t", sr.Schema{Schema: other})
	require.NoError(t, err)
	require.NotEqual(t, first.ID, documented.ID, "a doc is part of a schema")
}

func TestAnotherTypeThanAvroIsRefused(t *testing.T) {
	t.Parallel()
	_, cl := serve(t, open(t, ""))
	_, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"object"}`})
	require.ErrorContains(t, err, "AVRO only")
}

func TestConcurrentRegistrationsGiveEachSchemaOneID(t *testing.T) {
	t.Parallel()
	_, cl := serve(t, open(t, filepath.Join(t.TempDir(), "registry.json")))
	const writers, schemas = 8, 10
	ids := make([][schemas]int, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range schemas {
				text := fmt.Sprintf(`{"type":"fixed","name":"F%d","size":%d}`, i, i+1)
				got, err := cl.CreateSchema(t.Context(), fmt.Sprintf("s%d", i), sr.Schema{Schema: text})
				if err == nil {
					ids[w][i] = got.ID
				}
			}
		})
	}
	wg.Wait()
	seen := map[int]bool{}
	for i := range schemas {
		for w := range writers {
			require.Positive(t, ids[w][i])
			require.Equal(t, ids[0][i], ids[w][i])
		}
		seen[ids[0][i]] = true
	}
	require.Len(t, seen, schemas)
}

// FuzzRequests: whatever is sent, the answer is one of the registry's own, and never a 500.
func FuzzRequests(f *testing.F) {
	for _, text := range schema.All() {
		f.Add(`{"schema":` + fmt.Sprintf("%q", text) + `}`)
	}
	f.Add(`{"schema":"[\"null\",{\"type\":\"record\",\"name\":\"\",\"fields\":[3]}]","references":[{"name":"a","subject":"s","version":1}]}`)
	f.Add(`{"schema":"{\"type\":{\"type\":{\"type\":\"int\"}}}","id":-1,"version":-7}`)
	f.Add(`{"compatibility":1,"mode":["IMPORT"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		handler := open(t, "").Handler()
		for _, request := range [][2]string{
			{"POST", "/subjects/s/versions?normalize=true"},
			{"POST", "/subjects/s?normalize=true"},
			{"POST", "/compatibility/subjects/s/versions?verbose=true"},
			{"PUT", "/config/s"},
			{"PUT", "/mode/m"},
		} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), request[0], request[1], strings.NewReader(body)))
			require.NotEqual(t, http.StatusInternalServerError, w.Code, "%v: %s", request, w.Body)
			require.Equal(t, "application/vnd.schemaregistry.v1+json", w.Header().Get("Content-Type"))
		}
	})
}
