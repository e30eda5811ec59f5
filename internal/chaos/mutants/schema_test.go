package mutants

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/chaos"
)

// forget drops a schema while nothing runs.
func (l *lab) forget(ctx context.Context, schema string) {
	l.t.Helper()
	conn, err := pgx.Connect(ctx, l.cfg.Postgres)
	require.NoError(l.t, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	require.NoError(l.t, err)
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// last is the newest record of a type on deals.v1.
func (l *lab) last(ctx context.Context, typ string) *kgo.Record {
	l.t.Helper()
	var found *kgo.Record
	for _, r := range l.read(ctx, "deals.v1") {
		if header(r, "ce_type") == typ {
			found = r
		}
	}
	require.NotNil(l.t, found)
	return found
}

// cutOff has a signature of an envelope come that no vendor has, and its last byte is missing. A person
// drops it where it waits.
func cutOff(ctx context.Context, l *lab) {
	p := l.paper(l.sale("lakeshore", 1), 1)
	l.rest()
	r := l.last(ctx, "DocumentSigned")
	for _, id := range []string{header(r, "ce_id"), p.id} {
		other := id[:len(id)-1] + map[bool]string{true: "a", false: "b"}[strings.HasSuffix(id, "b")]
		require.Contains(l.t, string(r.Value), id)
		r.Value = bytes.ReplaceAll(r.Value, []byte(id), []byte(other))
		for i, h := range r.Headers {
			r.Headers[i].Value = bytes.ReplaceAll(h.Value, []byte(id), []byte(other))
		}
	}
	r.Value = r.Value[:len(r.Value)-1]
	l.again(ctx, []*kgo.Record{r})
	l.handled()
	for _, group := range []string{"followupboss", "warehouse", "timeline"} {
		if l.one("SELECT count(*) FROM "+group+".queued_key WHERE cause = 'undecodable'") > 0 {
			l.command("held", "drop", string(r.Key), "--adapter", group, "--reason", "it is cut off")
		}
	}
}

// schemaLate has a record come before the registry has heard of its schema.
func schemaLate(ctx context.Context, l *lab) {
	l.sale("lakeshore", 1)
	l.rest()
	r := l.last(ctx, "DealChanged")
	var known struct {
		Schema string `json:"schema"`
	}
	id := binary.BigEndian.Uint32(r.Value[1:5])
	l.registry(ctx, http.MethodGet, fmt.Sprintf("/schemas/ids/%d", id), "", &known)
	next := l.register(ctx, "first", `"string"`) + 1
	r.Value = append(binary.BigEndian.AppendUint32([]byte{0}, next), r.Value[5:]...)
	l.again(ctx, []*kgo.Record{r})
	chaos.Pause(ctx, 3*time.Second)
	text := strings.Replace(known.Schema, `"record",`, `"record", "aliases": ["Later"],`, 1)
	require.NotEqual(l.t, known.Schema, text)
	require.Equal(l.t, next, l.register(ctx, "second", text))
}

func (l *lab) register(ctx context.Context, subject, text string) uint32 {
	l.t.Helper()
	body, err := json.Marshal(map[string]string{"schema": text})
	require.NoError(l.t, err)
	var answer struct {
		ID uint32 `json:"id"`
	}
	l.registry(ctx, http.MethodPost, "/subjects/"+subject+"/versions", string(body), &answer)
	return answer.ID
}

func (l *lab) registry(ctx context.Context, method, path, body string, into any) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, l.Info.Registry+path, strings.NewReader(body))
	require.NoError(l.t, err)
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(l.t, http.StatusOK, resp.StatusCode, path)
	require.NoError(l.t, json.NewDecoder(resp.Body).Decode(into))
}
