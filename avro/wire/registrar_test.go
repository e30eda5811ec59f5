package wire

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
)

func TestRegisterPutsEverySubjectOnceAndGuardsIt(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	g := r.registrar(t)
	first, err := g.Register(t.Context(), schema.All())
	require.NoError(t, err)
	require.Len(t, first, 10)
	levels := g.client.Compatibility(t.Context(), subjects(first)...)
	for i, one := range first {
		require.True(t, one.New, one.Subject)
		require.Equal(t, 1, one.Version)
		require.NoError(t, levels[i].Err)
		require.Equal(t, sr.CompatFullTransitive, levels[i].Level)
	}
	again, err := g.Register(t.Context(), schema.All())
	require.NoError(t, err)
	for i, one := range again {
		require.False(t, one.New)
		require.Equal(t, first[i].ID, one.ID)
	}
	text, err := json.Marshal(again[0])
	require.NoError(t, err)
	require.JSONEq(t,
		`{"subject":"test.webhooks.skyslope.v1-conveyance.event.WebhookReceived","id":1,"version":1,"new":false}`,
		string(text))
}

func subjects(done []Registered) []string {
	var names []string
	for _, d := range done {
		names = append(names, d.Subject)
	}
	return names
}

func TestABreakingSchemaIsRefusedAndNothingIsRegistered(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	texts := schema.All()
	name := string(event.TypeContactChanged)
	texts[name] = strings.Replace(texts[name], `"name": "agent_email"`, `"name": "agent_mail"`, 1)
	texts["DealChanged"] = strings.Replace(texts["DealChanged"], `"doc": "The deal after the change."`,
		`"doc": "The deal."`, 1)

	g := r.registrar(t)
	findings, err := g.Check(t.Context(), texts)
	require.NoError(t, err)
	subject := Subject(prefix, topic.Contacts, event.TypeContactChanged)
	const rule = "is asked for by the reader without a default, and was not written"
	require.Equal(t, []Finding{
		{Subject: subject, Version: 1, Reader: "candidate", Field: "agent_mail", Rule: rule},
		{Subject: subject, Version: 1, Reader: "version 1", Field: "agent_email", Rule: rule},
	}, findings)
	require.Equal(t, subject+": field agent_mail "+rule+" (the new schema reading version 1)", findings[0].String())

	_, err = g.Register(t.Context(), texts)
	refused, ok := errors.AsType[*Refused](err)
	require.True(t, ok)
	require.Equal(t, findings, refused.Findings)
	_, ok = r.GetSchema(Subject(prefix, topic.Deals, event.TypeDealChanged), 2)
	require.False(t, ok, "the sound one waits for the other")
}

func TestCheckLooksAtEveryVersionNotOnlyTheLast(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	name := string(event.TypeContactChanged)
	subject := Subject(prefix, topic.Contacts, event.TypeContactChanged)
	now := schema.All()[name]
	with := func(field string) string {
		end := strings.LastIndex(now, "]")
		return now[:end] + "," + field + now[end:]
	}
	_, _, err := r.RegisterSchema(subject, sr.Schema{
		Schema: with(`{"name":"x","type":["null","long"],"default":null,"doc":"d"}`),
	})
	require.NoError(t, err)
	_, version, err := r.RegisterSchema(subject, sr.Schema{Schema: strings.Replace(now, "Identity", "Who", 1)})
	require.NoError(t, err)
	require.Equal(t, 3, version)

	texts := schema.All()
	texts[name] = with(`{"name":"x","type":["null","string"],"default":null,"doc":"d"}`)
	findings, err := r.registrar(t).Check(t.Context(), texts)
	require.NoError(t, err)
	require.Len(t, findings, 2)
	for _, f := range findings {
		require.Equal(t, 2, f.Version)
		require.Equal(t, "x", f.Field)
	}
}

func TestCheckLintsTheCandidate(t *testing.T) {
	t.Parallel()
	texts := schema.All()
	texts["WebhookReceived"] = strings.Replace(texts["WebhookReceived"], `"type": "bytes"`, `"type": "double"`, 1)
	findings, err := newRegistry(t).registrar(t).Check(t.Context(), texts)
	require.NoError(t, err)
	require.NotEmpty(t, findings)
	require.Equal(t, "lint", findings[0].Reader)
	require.Equal(t, "body", findings[0].Field)
}

func TestListSaysWhereThisBuildStands(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	g := r.registrar(t)
	list, err := g.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 10)
	require.Equal(t, Listed{
		Subject: "test.contacts.golden.v1-conveyance.event.ContactMastered", Versions: []int{}, Known: true,
	}, list[0])

	r.register(t)
	_, _, err = r.RegisterSchema("test.old.v1-conveyance.event.Gone", sr.Schema{Schema: `"string"`})
	require.NoError(t, err)
	_, _, err = r.RegisterSchema("neighbour-value", sr.Schema{Schema: `"long"`})
	require.NoError(t, err)
	list, err = g.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 11, "the neighbour has another prefix")
	for _, l := range list {
		require.Equal(t, []int{1}, l.Versions)
		require.Equal(t, l.Known, l.Current == 1)
		require.Equal(t, l.Known, l.Compatibility == "FULL_TRANSITIVE", l.Subject)
	}
}

func TestRegistrarSaysThatTheRegistryIsAway(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	g := r.registrar(t)
	r.answer(http.StatusServiceUnavailable, "away")
	_, err := g.Register(t.Context(), schema.All())
	require.ErrorContains(t, err,
		"reading the versions of test.webhooks.skyslope.v1-conveyance.event.WebhookReceived: away")
	_, err = g.List(t.Context())
	require.ErrorContains(t, err, "away")
	_, err = NewRegistrar("nowhere", prefix, nil)
	require.ErrorContains(t, err, "registry URL")
}
