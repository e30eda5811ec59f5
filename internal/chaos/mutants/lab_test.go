package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
	"conveyance/internal/testkit"
)

// lab is one bus on which a scene is played.
type lab struct {
	*chaos.Bus
	t       testing.TB
	cfg     chaos.Config
	plan    string // folder of crash points
	strikes int    // of crash points so far
	quota   bool   // no stage is frozen in it, so that no quota may be passed

	mu   sync.Mutex
	sent []judge.Sent
}

// built is the binary, with the places at which it breaks.
var built = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(folder, "conveyance")
	out, err := exec.Command("go", "build", "-tags", "faults", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building with faults: %w: %s", err, out)
	}
	return exe, nil
})

// start starts a bus with a mistake; none where broken is empty.
func start(t testing.TB, broken string) *lab {
	t.Helper()
	exe, err := built()
	require.NoError(t, err)
	l := &lab{t: t, plan: t.TempDir()}
	l.cfg = chaos.Config{
		Exe: exe, Dir: filepath.Join(t.TempDir(), "bus"), Postgres: testkit.Database(t),
		Env: []string{"CONVEYANCE_BROKEN=" + broken, "CONVEYANCE_FAULTS=" + l.plan},
	}
	l.begin()
	return l
}

func (l *lab) begin() {
	l.t.Helper()
	bus, err := chaos.Start(l.t.Context(), l.cfg)
	require.NoError(l.t, err)
	l.Bus = bus
	l.t.Cleanup(func() { bus.Stop(syscall.SIGTERM) })
	_, err = judge.Watch(l.t.Context(), l.Pool, chaos.Groups()...)
	require.NoError(l.t, err)
}

const (
	// patience is how long nothing may change before a bus is judged as it is: longer than anything that
	// waits in a scene for the clock.
	patience = 40 * time.Second
	// waits is how long a scene waits for what must happen, on a machine with much else to do.
	waits = 6 * time.Minute
	// look is how often a waiting scene looks.
	look = 100 * time.Millisecond
)

// verdict waits until the judge finds nothing in the whole history, or what cannot pass again, or nothing
// changes any more.
func (l *lab) verdict(ctx context.Context, final func(judge.Verdict) bool) judge.Verdict {
	l.t.Helper()
	for until := time.Now().Add(patience); !l.atEnd(ctx) && time.Now().Before(until); {
		chaos.Pause(ctx, look)
	}
	var v judge.Verdict
	for seen, since := "", time.Now(); time.Since(since) < patience; chaos.Pause(ctx, 10*look) {
		var err error
		v, err = l.Audit(ctx, l.sent, l.quota)
		require.NoError(l.t, err)
		if v.Clean() || final(v) {
			break
		}
		_, err = l.Operate(ctx)
		require.NoError(l.t, err)
		if now := v.String(); now != seen {
			seen, since = now, time.Now()
		}
	}
	return v
}

func (l *lab) await(what string, happened func() bool) {
	l.t.Helper()
	for until := time.Now().Add(waits); !happened(); {
		require.True(l.t, time.Now().Before(until), "never happened: %s", what)
		chaos.Pause(l.t.Context(), look)
	}
}

func (l *lab) signal(name string, sig syscall.Signal) {
	l.t.Helper()
	l.await(name+" running", func() bool { return l.Signal(name, sig) })
}

func (l *lab) control(method, path, body string, into any) {
	l.t.Helper()
	require.NoError(l.t, l.Control(l.t.Context(), method, path, body, into))
}

func (l *lab) command(args ...string) {
	l.t.Helper()
	_, err := l.Command(l.t.Context(), args...)
	require.NoError(l.t, err)
}

func (l *lab) one(sql string, args ...any) (n int) {
	l.t.Helper()
	require.NoError(l.t, l.Pool.QueryRow(l.t.Context(), sql, args...).Scan(&n))
	return n
}

// told plays a story to its end, and waits until all of it has arrived.
func (l *lab) told(deals int) {
	l.t.Helper()
	require.NoError(l.t, l.Story(l.t.Context(), 7, deals, 50))
	l.await("the end of the story", func() bool { return l.Told(l.t.Context()) })
	l.rest()
}

// rest waits until every destination is as the truth says: whatever a mutant breaks, it breaks later.
func (l *lab) rest() {
	l.t.Helper()
	v, err := l.Settle(l.t.Context(), time.Minute)
	require.NoError(l.t, err)
	require.True(l.t, v.Clean(), "before the scene: %s\n%s", v, chaos.Findings(v))
}

// handled waits until every group has handled all that its topics hold.
func (l *lab) handled() {
	l.t.Helper()
	l.await("every group at the end of its topics", func() bool { return l.atEnd(l.t.Context()) })
}

// atEnd looks twice, since what the first groups wrote meanwhile is to be handled, too.
func (l *lab) atEnd(ctx context.Context) bool {
	l.t.Helper()
	for range 2 {
		ends, err := l.Ends(ctx)
		require.NoError(l.t, err)
		behind := false
		for _, group := range chaos.Groups() {
			require.NoError(l.t, l.Offsets(ctx, group, func(place string, next int64) { behind = behind || next < ends[place] }))
		}
		if behind {
			return false
		}
	}
	return true
}

// sale is a deal of the lab's own, with one buyer.
type sale struct{ tenant, guid, email string }

func (s sale) key() string { return s.tenant + "/skyslope/main/sale/" + s.guid }

func (l *lab) sale(tenant string, n int) sale {
	l.t.Helper()
	s := sale{tenant, fmt.Sprintf("00000000-0000-4000-8000-%012d", n), fmt.Sprintf("buyer.%s.%d@example.com", tenant, n)}
	l.put(s, fmt.Sprintf(`{"status":"Pre-Contract","dealType":"Purchase","salePrice":%d,"listingPrice":400000,
		"property":{"streetNumber":"%d","streetAddress":"Mutant Lane","city":"Springfield","state":"IL","zip":"62701"},
		"buyers":[{"firstName":"Robin","lastName":"Buyer","email":"%s"}]}`, 400_000+n, n, s.email))
	return s
}

func (l *lab) put(s sale, patch string) {
	l.t.Helper()
	l.control(http.MethodPut, "/skyslope/sales/"+s.guid+"?tenant="+s.tenant, patch, nil)
}

// paper is an envelope of one document, about a sale.
type paper struct{ tenant, id string }

// paper makes an envelope that its signer has signed.
func (l *lab) paper(s sale, n int) paper {
	l.t.Helper()
	return l.envelope(s, n, "completed")
}

func (l *lab) envelope(s sale, n int, status string) paper {
	l.t.Helper()
	p := paper{s.tenant, fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", n)}
	signer := map[string]any{"recipientId": "1", "name": "Robin Buyer", "email": s.email, "status": status}
	body, err := json.Marshal(map[string]any{
		"status":            status,
		"recipients":        map[string]any{"signers": []any{signer}},
		"customFields":      map[string]any{"textCustomFields": []any{map[string]any{"name": "Deal ID", "value": s.guid}}},
		"envelopeDocuments": []any{map[string]any{"documentId": "1", "name": "Purchase Agreement.pdf", "type": "content"}},
	})
	require.NoError(l.t, err)
	l.control(http.MethodPut, "/docusign/envelopes/"+p.id+"?tenant="+p.tenant, string(body), nil)
	return p
}

// noted is how many notes of signatures the CRM of a tenant has.
func (l *lab) noted(tenant string) (n int) {
	l.t.Helper()
	var notes []struct {
		Subject string `json:"subject"`
	}
	l.control(http.MethodGet, "/followupboss/notes?tenant="+tenant, "", &notes)
	for _, note := range notes {
		if note.Subject == "Document signed" {
			n++
		}
	}
	return n
}

// stages starts a process of a stage, beside up's own or in its place, by its name in the group.
func (l *lab) stage(ctx context.Context, name, instance string) *exec.Cmd {
	l.t.Helper()
	cmd := exec.CommandContext(ctx, l.Exe, append(strings.Fields(name), "--instance-id", instance)...)
	cmd.Env = append(append(cmd.Environ(), l.Env...), "CONVEYANCE_CALL_DEADLINE=2s", "CONVEYANCE_VENDOR_LAG=1s",
		"CONVEYANCE_DIR="+l.Dir, "CONVEYANCE_SEALING_KEY="+filepath.Join(l.Dir, "secrets", "sealing.key"),
		"CONVEYANCE_ALLOW_LOOPBACK=true", "CONVEYANCE_LOG_LEVEL=error", "CONVEYANCE_FAULTS=")
	require.NoError(l.t, cmd.Start())
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}
