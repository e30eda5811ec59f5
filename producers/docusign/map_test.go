package docusign_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/producerstest"
)

func mapper(t testing.TB) producers.Vendor {
	t.Helper()
	v, err := docusign.New(producers.Deps{})
	require.NoError(t, err)
	return v
}

func snapshotOf(body []byte) event.VendorSnapshot {
	return event.VendorSnapshot{Resource: resource(known), Parts: []event.Part{{Name: "envelope", Status: 200, Body: body}}}
}

// usual is a case of testdata as an object that a test changes.
func usual(t testing.TB, name string) map[string]any {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name, "envelope.json"))
	require.NoError(t, err)
	var e map[string]any
	require.NoError(t, json.Unmarshal(body, &e))
	return e
}

// TestAnyRecordMapsOrNamesItsPath breaks a usual record at random places.
func TestAnyRecordMapsOrNamesItsPath(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	paths := []string{"status", "envelopeId", "recipients", "customFields", "envelopeDocuments", "statusChangedDateTime", "purgeState"}
	values := []any{
		nil, true, 7, -1.5, "", "text",
		[]any{},
		[]any{nil, 1, "x"},
		map[string]any{},
		map[string]any{"signers": 1},
		map[string]any{"signers": []any{map[string]any{"recipientId": 1, "status": "completed", "signedDateTime": "2026-01-01T00:00:00Z"}}},
	}
	rapid.Check(t, func(rt *rapid.T) {
		e := usual(t, rapid.SampledFrom([]string{"completed", "in_person_signer", "sent"}).Draw(rt, "case"))
		for range rapid.IntRange(1, 3).Draw(rt, "breaks") {
			e[rapid.SampledFrom(paths).Draw(rt, "path")] = rapid.SampledFrom(values).Draw(rt, "value")
		}
		body, err := json.Marshal(e)
		require.NoError(rt, err)
		checkMap(rt, v, body)
	})
}

func FuzzMap(f *testing.F) {
	v := mapper(f)
	cases, err := filepath.Glob("testdata/*/envelope.json")
	require.NoError(f, err)
	for _, c := range cases {
		body, err := os.ReadFile(c)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkMap(t, v, body) })
}

// checkMap maps twice and holds what readers rely on.
func checkMap(t require.TestingT, v producers.Vendor, body []byte) {
	facts, mapped := producerstest.Pure(t, v.Mapper, func() event.VendorSnapshot { return snapshotOf(body) })
	if !mapped {
		return
	}
	require.Nil(t, facts.Deal)
	complete := map[string]bool{}
	for _, s := range facts.Signatures {
		require.NotEmpty(t, s.DocumentID)
		require.NotEmpty(t, s.EnvelopeID)
		require.NotEmpty(t, s.SignerRole)
		require.Positive(t, s.SignedAt.UnixMilli())
		if s.Complete {
			complete[s.SignedAt.String()] = true
		}
	}
	require.LessOrEqual(t, len(complete), 1, "one signature completes an envelope")
	for _, c := range facts.Claims {
		require.NotEmpty(t, c.Value)
		require.True(t, c.Kind == producers.ClaimEmail || strings.HasPrefix(c.Kind, producers.ClaimField))
	}
	for _, drift := range facts.Drift {
		require.LessOrEqual(t, len(drift.Path), 100)
	}
}

// Recipients and fields come in any order; the facts and the digest do not depend on it.
func TestOrderOfRecipientsAndFieldsSaysNothing(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	digest := func(e map[string]any) (string, producers.Facts) {
		s.mu.Lock()
		s.envelopes[known] = e
		s.mu.Unlock()
		snap, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
		require.NoError(t, err)
		facts, err := v.Mapper.Map(snap)
		require.NoError(t, err)
		return snap.Digest, facts
	}
	first, facts := digest(usual(t, "completed"))
	e := usual(t, "completed")
	for _, list := range []any{
		e["recipients"].(map[string]any)["signers"], e["customFields"].(map[string]any)["textCustomFields"],
	} {
		l := list.([]any)
		l[0], l[1] = l[1], l[0]
	}
	second, same := digest(e)
	require.Equal(t, first, second)
	require.Equal(t, facts, same)
}

func BenchmarkMap(b *testing.B) {
	v := mapper(b)
	body, err := os.ReadFile("testdata/completed/envelope.json")
	require.NoError(b, err)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := v.Mapper.Map(snapshotOf(body)); err != nil {
			b.Fatal(err)
		}
	}
}
