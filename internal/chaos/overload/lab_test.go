package overload

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

// The demonstration's brokerages, and their ids at the simulated DocuSign.
const (
	loud, quiet = "lakeshore", "redrock"
)

var docusign = map[string]string{
	loud: "8d0c6a52-1f4e-4b7e-9a3f-2c5de1f6a901", quiet: "e71b5f04-93ad-4c28-8f60-7b1a4d92c3b7",
}

// patience with a bus that has more to do than this machine can.
const patience = 5 * time.Minute

func start(t *testing.T, env ...string) *chaos.Bus {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	b, err := chaos.Start(t.Context(), chaos.Config{
		Exe: exe, Dir: filepath.Join(t.TempDir(), "bus"), Postgres: testkit.Database(t), Env: env,
		Args: []string{"--poll-every", "1s"}, // a list that overlaps by minutes is long where much happens
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		b.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Log(b.Logs())
		}
	})
	return b
}

// setting is a duration or a number from the environment.
func setting[T any](t *testing.T, name string, otherwise T, read func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := read(text)
	require.NoError(t, err, name)
	return v
}

func doorOf(b *chaos.Bus, tenant string, series int) door {
	a := b.Info.Tenants[tenant].Accounts["docusign/main"]
	return door{url: a.Webhook, secret: a.Secret, account: docusign[tenant], series: series}
}

func key(tenant string, d door, i int) string { return tenant + "/docusign/main/envelope/" + d.id(i) }

// peaks are the most memory that each process held, in MiB.
func peaks(t *testing.T, b *chaos.Bus) map[string]int {
	t.Helper()
	found := map[string]int{}
	for name, pid := range b.Children() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		kib, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(t, err)
		found[name] = kib >> 10
	}
	return found
}

// tracker measures how long it is from a start to when something is seen.
type tracker struct {
	mu      sync.Mutex
	open    map[string]time.Time
	seen    []time.Duration
	looking sync.WaitGroup
}

func (k *tracker) begin(what string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[what] = at
}

// watch looks until ctx ends for what is open.
func watch(ctx context.Context, look func(context.Context, []string) (map[string]bool, error)) *tracker {
	k := &tracker{open: map[string]time.Time{}}
	k.looking.Go(func() {
		for ctx.Err() == nil {
			k.mu.Lock()
			var what []string
			for w := range maps.Keys(k.open) {
				what = append(what, w)
			}
			k.mu.Unlock()
			if found, err := look(ctx, what); err == nil {
				k.end(found)
			}
			chaos.Pause(ctx, 20*time.Millisecond)
		}
	})
	return k
}

func (k *tracker) end(found map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for w := range found {
		if at, ok := k.open[w]; ok {
			k.seen = append(k.seen, time.Since(at))
			delete(k.open, w)
		}
	}
}

// left is how much was not seen yet.
func (k *tracker) left() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.open)
}

// take returns what was measured since the last take.
func (k *tracker) take() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := k.seen
	k.seen = nil
	return seen
}

// firstPrice is a sale's until it changes.
const firstPrice = 400_000

// mail is of the client of a tenant's i-th sale.
func mail(tenant string, i int) string { return fmt.Sprintf("client%d@%s.example.com", i, tenant) }

// sell makes a sale, whose client becomes a person in the CRM, or changes it.
func sell(ctx context.Context, b *chaos.Bus, tenant string, i, price int) error {
	phone := fmt.Sprintf("(%d) 555-%04d", 212+i/10_000, i%10_000) // two people with one phone are one person in a CRM
	if price > firstPrice {
		phone = fmt.Sprintf("(989) 555-%04d", price%10_000)
	}
	body := fmt.Sprintf(`{"status":"Pending","dealType":"Purchase","salePrice":%d,
		"buyers":[{"firstName":"Mira","lastName":"Client%d","email":%q,"phoneNumber":%q}]}`, price, i, mail(tenant, i), phone)
	return b.Control(ctx, http.MethodPut, fmt.Sprintf("/skyslope/sales/%s-%d?tenant=%s", tenant, i, tenant), body, nil)
}

// people looks for the mails of people in a tenant's CRM.
func people(b *chaos.Bus, tenant string) func(context.Context, []string) (map[string]bool, error) {
	return func(ctx context.Context, _ []string) (map[string]bool, error) {
		var all []struct {
			Emails []struct{ Value string }
		}
		if err := b.Control(ctx, http.MethodGet, "/followupboss/people?tenant="+tenant, "", &all); err != nil {
			return nil, err
		}
		found := map[string]bool{}
		for _, p := range all {
			for _, e := range p.Emails {
				found[e.Value] = true
			}
		}
		return found, nil
	}
}

// breaches counts the requests that a vendor refused since an account's quota was used up.
func breaches(t *testing.T, b *chaos.Bus) (n int) {
	t.Helper()
	for _, vendor := range []string{"skyslope", "docusign", "followupboss"} {
		var all []struct{ Remark string }
		require.NoError(t, b.Control(t.Context(), http.MethodGet, "/"+vendor+"/requests", "", &all))
		for _, r := range all {
			if r.Remark == "over quota" {
				n++
			}
		}
	}
	return n
}
