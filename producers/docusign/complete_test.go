package docusign_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

// signedWebhook is a delivery about the envelope of testdata/completed, without its documents.
func signedWebhook(t testing.TB, change ...string) producers.Delivery {
	t.Helper()
	body, err := os.ReadFile("testdata/deliveries/summary_signed_without_documents.json")
	require.NoError(t, err)
	d, err := mapper(t).Webhook.Hints([]byte(strings.NewReplacer(change...).Replace(string(body))))
	require.NoError(t, err)
	return d
}

// readSigned is the same envelope by GET.
func readSigned(t testing.TB, change func(e map[string]any)) event.VendorSnapshot {
	t.Helper()
	s, v, a := serve(t)
	e := usual(t, "completed")
	if change != nil {
		change(e)
	}
	s.mu.Lock()
	s.envelopes[known] = e
	s.mu.Unlock()
	snap, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	return snap
}

func partialOf(t testing.TB) event.VendorSnapshot {
	t.Helper()
	d := signedWebhook(t)
	require.NotNil(t, d.Partial)
	partial := *d.Partial
	partial.Resource = resource(known)
	return partial
}

func TestCompletedWebhookIsTheFactThatAReadGives(t *testing.T) {
	t.Parallel()
	c := mapper(t).Completer
	read := readSigned(t, nil)
	first := readSigned(t, func(e map[string]any) { // as it was when the first of the two had signed
		e["status"] = "sent"
		second := e["recipients"].(map[string]any)["signers"].([]any)[1].(map[string]any)
		second["status"] = "sent"
		delete(second, "signedDateTime")
	})
	require.NotEqual(t, read.Digest, first.Digest)
	partial := partialOf(t)
	whole, ok := c.Complete(partial, c.Keep(first))
	require.True(t, ok)
	require.Equal(t, read.Digest, whole.Digest)
	require.Equal(t, read.Version, whole.Version)
	require.Len(t, partial.Parts, 1, "what it was given is not changed")
	require.Equal(t, "documents", whole.Parts[1].Name)
	require.Equal(t, first.Parts[0].FetchedAt, whole.Parts[1].FetchedAt, "the documents are as old as their read")

	facts, err := mapper(t).Mapper.Map(whole)
	require.NoError(t, err)
	same, err := mapper(t).Mapper.Map(read)
	require.NoError(t, err)
	require.Equal(t, same, facts)
	require.Equal(t, c.Keep(first), c.Keep(whole), "what it was completed with is kept on, with its age")
}

func TestDocumentsAreKeptFromTheFirstSignatureOn(t *testing.T) {
	t.Parallel()
	c := mapper(t).Completer
	require.NotNil(t, c.Keep(readSigned(t, nil)))
	unsigned := readSigned(t, func(e map[string]any) {
		e["status"] = "sent"
		for _, s := range e["recipients"].(map[string]any)["signers"].([]any) {
			s.(map[string]any)["status"] = "sent"
		}
	})
	for name, s := range map[string]event.VendorSnapshot{
		"nobody has signed": unsigned,
		"no documents":      readSigned(t, func(e map[string]any) { delete(e, "envelopeDocuments") }),
		"gone":              {Resource: resource(known), Gone: true},
		"encrypted":         {Resource: resource(known), Parts: readSigned(t, nil).Parts, Cipher: &event.Cipher{}},
		"no JSON":           snapshotOf([]byte("<html>")),
		"no parts":          {Resource: resource(known)},
	} {
		require.Nil(t, c.Keep(s), name)
	}
}

func TestKeptDocumentsThatDoNotFitCompleteNothing(t *testing.T) {
	t.Parallel()
	c := mapper(t).Completer
	kept := string(c.Keep(readSigned(t, nil)))
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "an empty object": "{}", "no JSON": "<html>", "cut off": kept[:len(kept)-9],
		"another envelope's": strings.ReplaceAll(kept, known, deleted),
		"no documents":       `{"fetched_at":"2026-01-01T00:00:00Z","answer":{"envelopeId":"` + known + `","envelopeDocuments":[]}}`,
	} {
		_, ok := c.Complete(partialOf(t), []byte(text))
		require.False(t, ok, name)
	}
	_, ok := c.Complete(event.VendorSnapshot{Resource: resource(known)}, []byte(kept))
	require.False(t, ok, "no envelope")
}

// Only what people do to an envelope leaves its documents as they are.
func TestDeliveryAfterWhichDocumentsMayDifferIsAHint(t *testing.T) {
	t.Parallel()
	for name, partial := range map[string]bool{
		"recipient-completed": true, "envelope-completed": true, "envelope-declined": true, "envelope-voided": true,
		"envelope-corrected": false, "envelope-sent": false, "envelope-resent": false, "recipient-reassign": false,
		"envelope-purge": false, "envelope-deleted": false, "": false, "some-new-event": false,
	} {
		d := signedWebhook(t, `"event":"envelope-completed"`, `"event":"`+name+`"`)
		require.Equal(t, partial, d.Partial != nil, name)
		require.Nil(t, d.Fact)
		require.Len(t, d.Resources, 1)
	}
}

func TestPartThatIsNoJSONBreaksTheContract(t *testing.T) {
	t.Parallel()
	snap := partialOf(t)
	snap.Parts = append(snap.Parts, event.Part{Name: "documents", Status: 200, Body: []byte("<html>")})
	_, err := mapper(t).Mapper.Map(snap)
	var broken *producers.ContractError
	require.ErrorAs(t, err, &broken)
	require.Equal(t, "/envelopeDocuments", broken.Path)
}

func FuzzComplete(f *testing.F) {
	v := mapper(f)
	c := v.Completer
	partial := partialOf(f)
	f.Add(c.Keep(readSigned(f, nil)))
	f.Add([]byte(`{"fetched_at":"2026-01-01T00:00:00Z","answer":{"envelopeId":"` + known + `","envelopeDocuments":[{"documentId":1}]}}`))
	f.Fuzz(func(t *testing.T, kept []byte) {
		whole, ok := c.Complete(partial, kept)
		if !ok {
			require.Equal(t, event.VendorSnapshot{}, whole)
			return
		}
		require.Len(t, whole.Parts, 2)
		require.True(t, json.Valid(whole.Parts[1].Body))
		_, err := v.Mapper.Map(whole)
		require.NoError(t, err)
		again, ok := c.Complete(partial, c.Keep(whole))
		require.True(t, ok || c.Keep(whole) == nil)
		if ok {
			require.Equal(t, whole.Digest, again.Digest)
		}
	})
}
