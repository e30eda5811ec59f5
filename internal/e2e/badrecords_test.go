package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// badRecord stands in front of a deal's next event. One with a cause parks with it, and the deal
// waits until a person drops it; one without is skipped.
type badRecord struct {
	name   string
	value  func(context.Context, *bus) []byte
	ceType string
	cause  string
}

func bytesOf(b ...byte) func(context.Context, *bus) []byte {
	return func(context.Context, *bus) []byte { return b }
}

var badRecords = []badRecord{
	{"an id that the registry does not know", bytesOf(0, 0, 0, 0xfe, 0xed, 2), "DealChanged", "unknown schema"},
	{"a record that ends too soon", bytesOf(0, 0, 0, 0, 1, 0x48), "", "undecodable"},
	{"a wrong frame", bytesOf(1, 0, 0, 0, 1, 2, 3), "DealChanged", "undecodable"},
	{"an event of a newer build, not registered", bytesOf(0, 0, 0, 0xfa, 0xce, 2), "OfferMade", ""},
	{"an event of a newer build", func(ctx context.Context, b *bus) []byte {
		return []byte{0, 0, 0, 0, b.register(ctx, "com.example.Unheard"), 2}
	}, "Unheard", ""},
}

func TestRecordsThatNobodyCanReadWaitAloneUntilAPersonDropsThem(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	t.Setenv("CONVEYANCE_SCHEMA_GRACE", "2s")
	b := start(t)
	ctx := t.Context()
	deals := make([]sale, len(badRecords)+1)
	for i := range deals { // and one with nothing bad in front
		deals[i] = b.sale(ctx, "lakeshore", 1+i)
	}
	b.await("the deals in the CRM", func() bool {
		for _, s := range deals {
			if !b.known(ctx, s) {
				return false
			}
		}
		return true
	})
	for i, bad := range badRecords {
		b.produce(ctx, deals[i], bad.value(ctx, b), bad.ceType)
	}
	for _, s := range deals {
		b.put(ctx, s, `{"status":"Pending"}`)
	}

	readers := []string{"followupboss", "warehouse", "timeline"}
	for i, bad := range badRecords {
		key := "lakeshore/skyslope/main/sale/" + deals[i].guid
		if bad.cause == "" {
			b.await("the deal behind "+bad.name, func() bool { return b.stage(ctx, deals[i]) == "Under Contract" })
			continue
		}
		for _, group := range readers {
			b.await(group+" holding "+bad.name+" and the deal behind it", func() bool {
				h := b.heldKey(ctx, group, key)
				return h.Count > 1 && h == heldLine{Kind: "parked", Cause: bad.cause, Scope: "key", Key: key, Count: h.Count}
			})
		}
		require.NotEqual(t, "Under Contract", b.stage(ctx, deals[i]), bad.name)
	}
	b.await("the deal with nothing bad in front", func() bool { return b.stage(ctx, deals[len(badRecords)]) == "Under Contract" })
	require.Equal(t, map[string]int{"followupboss": 2, "warehouse": 2, "timeline": 2}, b.counted(ctx, "unknown type"))
	require.Contains(t, b.logged(), `"cause":"schema unknown to the registry"`, "it stalled first")
	require.Equal(t, 3, b.exit(ctx, "status", "--fail"))

	for i, bad := range badRecords {
		if bad.cause == "" {
			continue
		}
		for _, group := range readers {
			b.command(ctx, "held", "drop", "lakeshore/skyslope/main/sale/"+deals[i].guid, "--adapter", group, "--reason", "no tool of ours wrote it")
		}
		b.await("the deal behind "+bad.name, func() bool { return b.stage(ctx, deals[i]) == "Under Contract" })
	}
	b.settled(ctx)
	for _, group := range readers {
		b.await(group+" holding nothing", func() bool { return len(b.held(ctx, group, "")) == 0 })
		require.Equal(t, 3, b.one(ctx, "SELECT count(*) FROM "+group+".queue_audit WHERE action = 'drop' AND reason = 'no tool of ours wrote it'"))
	}
	require.Zero(t, b.exit(ctx, "status", "--fail"))
}

// heldKey is what a group holds of a key; the zero line where it holds nothing.
func (b *bus) heldKey(ctx context.Context, group, key string) heldLine {
	b.t.Helper()
	for _, h := range b.held(ctx, group, "") {
		if h.Key == key {
			return h
		}
	}
	return heldLine{}
}

// counted is how many records each group counted under a cause, where it counted any.
func (b *bus) counted(ctx context.Context, cause string) map[string]int {
	b.t.Helper()
	var s struct {
		Processes []struct {
			HTTP  string `json:"http"`
			Alive bool   `json:"alive"`
		} `json:"processes"`
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.command(ctx, "status", "--json")), &s))
	sums := map[string]int{}
	for _, p := range s.Processes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP+"/metrics", nil)
		require.NoError(b.t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(b.t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(b.t, err)
		require.NoError(b.t, resp.Body.Close())
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			if !strings.HasPrefix(name, "conveyance_records_total{") || !strings.Contains(name, fmt.Sprintf("cause=%q", cause)) {
				continue
			}
			_, group, _ := strings.Cut(name, `group="`)
			group, _, _ = strings.Cut(group, `"`)
			n, err := strconv.Atoi(value)
			require.NoError(b.t, err)
			sums[group] += n
		}
	}
	return sums
}

// exit is the code with which a command ends.
func (b *bus) exit(ctx context.Context, args ...string) int {
	b.t.Helper()
	err := exec.CommandContext(ctx, b.Exe, append(args, "--dir", b.Dir)...).Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode()
	}
	require.NoError(b.t, err)
	return 0
}

// logged is what all stages have logged.
func (b *bus) logged() string {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.Dir, "log", "*.log"))
	require.NoError(b.t, err)
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(b.t, err)
		all.Write(text)
	}
	return all.String()
}
