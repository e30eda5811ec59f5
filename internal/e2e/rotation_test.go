package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

// standing is a line of status about an account that a person should look at.
type standing struct{ Account, State, Cause, Remedy, Link string }

// account is an account's line of a state; empty where there is none.
func (b *bus) account(ctx context.Context, key, state string) standing {
	b.t.Helper()
	var s struct{ Accounts []standing }
	require.NoError(b.t, json.Unmarshal([]byte(b.command(ctx, "status", "--json")), &s))
	for _, a := range s.Accounts {
		if a.Account == key && a.State == state {
			return a
		}
	}
	return standing{}
}

const rotatedQuestion = "rotated secret?"

func rotatedSecret(ctx context.Context, b *bus) {
	b.await("the alarm", func() bool { return b.account(ctx, "lakeshore/docusign/main", rotatedQuestion).Remedy != "" })
	require.Contains(b.t, b.command(ctx, "status"), "account lakeshore/docusign/main: "+rotatedQuestion)
	require.Contains(b.t, b.command(ctx, "why", "lakeshore/docusign/main"), rotatedQuestion)
	// Ten minutes pass.
	b.exec(ctx, "UPDATE ingest.account SET refused_at = refused_at - interval '11 minutes' WHERE tenant = 'lakeshore'")
}

func rotatedSecretOver(ctx context.Context, b *bus) {
	b.await("the alarm's end", func() bool {
		return b.account(ctx, "lakeshore/docusign/main", rotatedQuestion) == standing{}
	})
}

// rotation gives redrock another key, while its webhooks come all the time.
func rotation(ctx context.Context, b *bus) {
	file := filepath.Join(b.Dir, "tenants", "redrock.yaml")
	text, err := os.ReadFile(file)
	require.NoError(b.t, err)
	const first = "{id: first, file: ../secrets/redrock-docusign-webhook.key}"
	const second = "{id: second, file: ../secrets/redrock-second.key}"
	require.Contains(b.t, string(text), first)
	keys := map[string]string{
		"first": b.Info.Tenants["redrock"].Accounts["docusign/main"].Secret, "second": "another key of redrock's",
	}
	path := filepath.Join(b.Dir, "secrets", "redrock-second.key")
	require.NoError(b.t, os.WriteFile(path, []byte(keys["second"]), 0o600))
	apply := func(to string) {
		require.NoError(b.t, os.WriteFile(file, []byte(strings.Replace(string(text), first, to, 1)), 0o600))
		b.command(ctx, "tenant", "apply", "-f", filepath.Join(b.Dir, "tenants"))
	}
	p := paper{"redrock", "eeeeeeee-0000-4000-8000-000000000020"}
	signedBy := func(key string, n int) delivery {
		d := b.thin(p, n)
		d.header = signature(keys[key], d.body)
		return d
	}
	b.write(ctx, p, "sent", "", 0, "somebody@example.com")

	var key atomic.Pointer[string]
	use := func(name string) { key.Store(&name) }
	use("first")
	var mu sync.Mutex
	got := map[string]int{}
	under, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	for w := range 2 {
		work.Go(func() {
			for n := w; under.Err() == nil; n += 2 {
				name := *key.Load()
				status := b.send(ctx, signedBy(name, n)).status
				mu.Lock()
				got[fmt.Sprintf("%s %d", name, status)]++
				mu.Unlock()
				chaos.Pause(under, 10*time.Millisecond)
			}
		})
	}
	apply(first + ", " + second)
	b.await("the second key", func() bool { return b.send(ctx, signedBy("second", 1_000_000)).status == http.StatusOK })
	b.control(ctx, http.MethodPut, "/docusign/keys?tenant=redrock",
		fmt.Sprintf(`{"keys":[%q,%q]}`, keys["first"], keys["second"]), nil)
	b.write(ctx, p, "delivered", "", 0, "somebody@example.com")
	use("second")
	b.control(ctx, http.MethodPut, "/docusign/keys?tenant=redrock", fmt.Sprintf(`{"keys":[%q]}`, keys["second"]), nil)
	b.write(ctx, p, "completed", "", 1, "somebody@example.com")
	chaos.Pause(ctx, 5*testkit.Look) // the last that the first key signed is answered
	apply(second)
	b.await("the end of the first key", func() bool {
		return b.send(ctx, signedBy("first", 1_000_001)).status == http.StatusUnauthorized
	})
	stop()
	work.Wait()
	b.t.Log(got)
	require.NotZero(b.t, got["first 200"])
	require.NotZero(b.t, got["second 200"])
	require.Len(b.t, got, 2, "none was rejected")
	b.delivered(ctx, "redrock")
	for _, d := range b.deliveries(ctx, "redrock") {
		require.Equal(b.t, 1, d.Attempts, "%+v", d)
	}
}
