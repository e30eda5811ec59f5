package wire

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

func TestSmoke(t *testing.T) {
	c, err := New(Config{})
	require.NoError(t, err)
	m := &event.WebhookReceived{Tenant: "a", ReceivedAt: time.UnixMilli(1).UTC(), Body: []byte("x"), Headers: []event.Header{}}
	b, err := c.AppendEncode(t.Context(), nil, "webhooks.a.v1", m)
	require.NoError(t, err)
	got, err := c.Decode(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, m, got)
}
