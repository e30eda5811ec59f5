package wire

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/internal/devstack/registry"
)

// The registry of up has real rules, unlike srfake: what the registrar sets, it enforces.
func TestRegistryItselfRefusesWhatWouldBreakAfterRegister(t *testing.T) {
	t.Parallel()
	real, err := registry.Open("")
	require.NoError(t, err)
	server := httptest.NewServer(real.Handler())
	t.Cleanup(server.Close)
	g, err := NewRegistrar(server.URL, prefix, topic.Table(topic.PartitionsDefault, "skyslope", "docusign"))
	require.NoError(t, err)
	done, err := g.Register(t.Context(), schema.All())
	require.NoError(t, err)
	require.Len(t, done, 12)
	again, err := g.Register(t.Context(), schema.All())
	require.NoError(t, err)
	for i := range again {
		done[i].New = false
	}
	require.Equal(t, done, again)

	name := string(event.TypeContactChanged)
	broken := strings.Replace(schema.All()[name], `"name": "agent_email"`, `"name": "agent_mail"`, 1)
	_, err = g.client.CreateSchema(t.Context(), Subject(prefix, topic.Contacts, event.TypeContactChanged),
		sr.Schema{Schema: broken})
	require.ErrorContains(t, err, "agent_mail")

	texts := schema.All()
	texts[name] = later(t, texts[name])
	grown, err := g.Register(t.Context(), texts)
	require.NoError(t, err)
	list, err := g.List(t.Context())
	require.NoError(t, err)
	for i, l := range list {
		require.True(t, l.Known)
		require.Equal(t, "FULL_TRANSITIVE", l.Compatibility)
		require.Equal(t, 1, l.Current, "this build's text, not the newest")
		require.Contains(t, []int{1, 2}, len(l.Versions), grown[i])
	}

	c, err := New(Config{Registry: server.URL, Prefix: prefix})
	require.NoError(t, err)
	value, err := c.AppendEncode(t.Context(), nil, topic.Contacts, sample())
	require.NoError(t, err)
	m, err := c.Decode(t.Context(), value)
	require.NoError(t, err)
	require.Equal(t, sample(), m)
	_, err = c.Decode(t.Context(), appendFrame(nil, 4711))
	require.ErrorIs(t, err, ErrUnavailable)
}
