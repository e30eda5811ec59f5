package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// later is a schema of this build as the next one may have it: a nullable field and a record that
// holds one more, in the middle, and one more symbol.
func later(t *testing.T, text string) string {
	t.Helper()
	next := text
	for old, with := range map[string]string{
		`"fields": [
          {
            "name": "event_id",`: `"fields": [
          {"name": "lane", "type": ["null", "string"], "default": null, "doc": "d"},
          {
            "name": "event_id",`,
		`"name": "roles",`: `"name": "tags", "type": {"type": "array", "items": {"type": "record", "name": "Tag",
          "doc": "d", "fields": [{"name": "word", "type": "string", "doc": "d"}]}}, "default": [], "doc": "d"}, {
          "name": "roles",`,
		`"BUYER",`: `"BUYER", "WITNESS",`,
	} {
		require.Equal(t, 1, strings.Count(next, old), old)
		next = strings.Replace(next, old, with, 1)
	}
	require.Empty(t, schema.Lint(next))
	return next
}

func both(t *testing.T) (r *fakeRegistry, c *Codec, now, next string) {
	t.Helper()
	r = newRegistry(t)
	r.register(t)
	now = schema.All()[string(event.TypeContactChanged)]
	return r, r.codec(t, ""), now, later(t, now)
}

func TestThisBuildReadsANewerWriter(t *testing.T) {
	t.Parallel()
	r, c, now, next := both(t)
	texts := schema.All()
	texts[string(event.TypeContactChanged)] = next
	done, err := r.registrar(t).Register(t.Context(), texts)
	require.NoError(t, err)
	var id int
	for _, d := range done {
		if d.New {
			require.Zero(t, id)
			id = d.ID
			require.Equal(t, 2, d.Version)
		}
	}

	var generic map[string]any
	body, err := twmb.MustParse(now).Encode(sample())
	require.NoError(t, err)
	_, err = twmb.MustParse(now).Decode(body, &generic)
	require.NoError(t, err)
	generic["origin"].(map[string]any)["lane"] = "live"
	generic["tags"] = []any{map[string]any{"word": "vip"}, map[string]any{"word": "cash"}}
	generic["roles"] = []any{"WITNESS", "SELLER"}
	newer, err := twmb.MustParse(next).AppendEncode(appendFrame(nil, uint32(id)), generic)
	require.NoError(t, err)

	m, err := c.Decode(t.Context(), newer)
	require.NoError(t, err)
	want := sample()
	want.Roles = []event.ParticipantRole{event.ParticipantRoleOther, event.ParticipantRoleSeller}
	require.Equal(t, want, m)
	for n := range newer {
		_, err := c.Decode(t.Context(), newer[:n])
		require.Error(t, err, "cut at %d", n)
	}
}

func TestThisBuildReadsAnOlderWriter(t *testing.T) {
	t.Parallel()
	r, c, now, _ := both(t)
	const correction = `,
          {
            "name": "correction",
            "type": [
              "null",
              "string"
            ],
            "default": null,
            "doc": "Why the event was issued by hand over a replay; null for what the bus found itself.",
            "pii": "text"
          }`
	require.Contains(t, now, correction)
	older := strings.Replace(now, correction, "", 1)
	r.SeedSchema("older", 1, 900, sr.Schema{Schema: older})
	want := sample()
	want.Origin.Correction = nil
	body, err := twmb.MustParse(older).AppendEncode(appendFrame(nil, 900), want)
	require.NoError(t, err)
	m, err := c.Decode(t.Context(), body)
	require.NoError(t, err)
	require.Equal(t, want, m)
}

func TestANewerReaderReadsThisBuild(t *testing.T) {
	t.Parallel()
	_, c, now, next := both(t)
	value, err := c.AppendEncode(t.Context(), nil, "contacts.v1", sample())
	require.NoError(t, err)
	resolved, err := twmb.Resolve(twmb.MustParse(now), twmb.MustParse(next))
	require.NoError(t, err)
	var generic map[string]any
	_, err = resolved.Decode(value[frameBytes:], &generic)
	require.NoError(t, err)
	require.Nil(t, generic["origin"].(map[string]any)["lane"])
	require.Empty(t, generic["tags"])
	require.Equal(t, "why", generic["origin"].(map[string]any)["correction"])
}

func sample() *event.ContactChanged {
	why := "why"
	m := &event.ContactChanged{
		Origin:  event.Origin{EventID: "id", Revision: 3, Correction: &why},
		Contact: event.Contact{Emails: []string{"a@b.c"}, Phones: []string{}},
		Roles:   []event.ParticipantRole{event.ParticipantRoleBuyer},
		Changed: []string{"emails"}, AgentEmail: "agent@b.c",
	}
	m.Origin.ReadAt = m.Origin.ReadAt.UTC()
	return m
}
