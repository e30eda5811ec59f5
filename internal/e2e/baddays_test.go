package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

// dealsPartitions of deals.v1: the default of up.
const dealsPartitions = 12

// outage is how long a part stays away: longer than the parts' own retries wait.
const outage = 4 * time.Second

// badDay is trouble that begins before a deal changes and ends after, and what a person sees of it.
type badDay struct {
	name   string
	strike func(context.Context, *bus, sale)
	says   func(context.Context, *bus) string // asked until it contains want; nil = nothing is said
	want   string
	mend   func(context.Context, *bus, sale)
}

// badDays each lose nothing: the deal that changed meanwhile arrives, once, by itself.
var badDays = []badDay{
	{
		name:   "Kafka away",
		strike: func(_ context.Context, b *bus, _ sale) { b.Signal("broker", syscall.SIGSTOP) },
		mend: func(ctx context.Context, b *bus, _ sale) {
			chaos.Pause(ctx, outage)
			b.Signal("broker", syscall.SIGCONT)
		},
	},
	{
		name: "registry away, and a stage starts anew without it",
		strike: func(_ context.Context, b *bus, _ sale) {
			b.Signal("registry", syscall.SIGSTOP)
			b.Signal("translate", syscall.SIGKILL)
		},
		mend: func(ctx context.Context, b *bus, _ sale) {
			chaos.Pause(ctx, outage)
			b.Signal("registry", syscall.SIGCONT)
		},
	},
	{
		name:   "Postgres killed",
		strike: func(_ context.Context, b *bus, _ sale) { b.Signal("-D", syscall.SIGKILL) },
		says:   func(_ context.Context, b *bus) string { return b.Said() },
		want:   "Postgres has ended and is started again; every stage waits for it and loses nothing",
		mend:   func(context.Context, *bus, sale) {},
	},
	{
		name: "a stored offset outside the log",
		strike: func(ctx context.Context, b *bus, _ sale) {
			b.exec(ctx, "UPDATE followupboss.consumer_offsets SET next_offset = next_offset + 1000000 WHERE topic = 'deals.v1'")
			b.Signal("adapter followupboss", syscall.SIGKILL)
		},
		says: func(ctx context.Context, b *bus) string { return b.command(ctx, "status") },
		want: "stored offset outside the log: see conveyance rewind --help",
		mend: func(ctx context.Context, b *bus, _ sale) { // from the very start: what the ledger holds does not happen again
			for p := range dealsPartitions {
				b.command(ctx, "rewind", "deals.v1", "--adapter", "followupboss", "--partition", strconv.Itoa(p), "--reason", "a test cut the log")
			}
		},
	},
	{
		name: "records that nobody can read, in front of the deal's",
		strike: func(ctx context.Context, b *bus, s sale) {
			// An unknown schema id stalls for a minute first: badrecords_test.go shortens it.
			b.produce(ctx, s, []byte{1, 0, 0, 0, 1, 2, 3}, "")       // a wrong frame
			b.produce(ctx, s, []byte{0, 0, 0, 0, 1, 0xff, 0xff}, "") // no record of its schema
			newer := b.register(ctx, "com.example.Unheard")
			b.produce(ctx, s, []byte{0, 0, 0, 0, newer, 2}, "com.example.Unheard") // an event of a newer build
		},
		says: func(ctx context.Context, b *bus) string {
			return b.command(ctx, "held", "list", "--adapter", "warehouse")
		},
		want: "undecodable",
		mend: func(ctx context.Context, b *bus, s sale) {
			for _, group := range []string{"followupboss", "warehouse", "timeline"} {
				b.await("the end of what "+group+" cannot read", func() bool {
					for _, h := range b.held(ctx, group, "") {
						if h.Cause == "undecodable" {
							// Fails where the last drop was obeyed only now: then there is nothing to drop.
							_ = exec.CommandContext(ctx, b.Exe, "held", "drop", h.Key, "--adapter", group,
								"--reason", "no tool of ours wrote it", "--dir", b.Dir).Run()
							return false
						}
					}
					return true
				})
			}
		},
	},
}

func TestDealThatChangesOnABadDayArrives(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	b := startOn(t, filepath.Join(t.TempDir(), "bus"), "")
	ctx := t.Context()
	s := b.sale(ctx, "lakeshore", 1)
	b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
	for n, day := range badDays {
		t.Log(day.name, time.Now().Format(time.TimeOnly))
		s := b.sale(ctx, "lakeshore", 10+n)
		b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
		day.strike(ctx, b, s)
		b.put(ctx, s, `{"status":"Pending"}`)
		if day.says != nil {
			b.await(day.name+": its sentence", func() bool { return strings.Contains(day.says(ctx, b), day.want) })
		}
		day.mend(ctx, b, s)
		b.await(day.name+": the deal's stage", func() bool { return b.stage(ctx, s) == "Under Contract" })
	}
	b.settled(ctx)
}

// Odd content of the vendor's is told apart: what can be understood flows, what is too large waits
// alone.
func TestOddRecordsOfAVendorStayTheirOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	b := startOn(t, filepath.Join(t.TempDir(), "bus"), testkit.Database(t))
	ctx := t.Context()
	twice := b.sale(ctx, "lakeshore", 1)
	b.put(ctx, twice, `{"buyers":[{},{"firstName":"Robin","lastName":"Buyer","email":"`+twice.email+`"},
		{"firstName":"Robin","lastName":"Buyer","email":"`+strings.ToUpper(twice.email)+`"},{"firstName":" ","email":""}]}`)
	word := b.sale(ctx, "lakeshore", 2)
	b.put(ctx, word, `{"status":"Frobnicated"}`)
	large := b.sale(ctx, "lakeshore", 3)
	b.put(ctx, large, `{"comments":"`+strings.Repeat("x", 4<<20+1)+`"}`)
	other := b.sale(ctx, "lakeshore", 4)
	text := b.sale(ctx, "lakeshore", 5)
	b.put(ctx, text, `{"status":"Pending","salePrice":"$400,005.50","listingPrice":"","escrowClosingDate":"0001-01-01T00:00:00"}`)
	unreadable := map[string]sale{}
	for i, price := range []string{`-1`, `1e300`, `"a lot"`} {
		unreadable[price] = b.sale(ctx, "lakeshore", 6+i)
		b.put(ctx, unreadable[price], `{"salePrice":`+price+`}`)
	}
	b.await("the deals that can be understood", func() bool {
		return b.known(ctx, twice) && b.known(ctx, other) && b.stage(ctx, text) == "Under Contract"
	})
	b.await("one buyer, however often and in whatever letters", func() bool {
		return b.one(ctx, `SELECT count(*) FROM warehouse.deal_participant JOIN warehouse.deal USING (deal_key) WHERE source_id = $1`, twice.guid) == 1
	})
	b.await("an amount that is text, and no amount and no day where there is none", func() bool {
		return b.one(ctx, `SELECT count(*) FROM warehouse.deal WHERE source_id = $1 AND sale_price_minor = 40000550
			AND list_price_minor IS NULL AND projected_close_date IS NULL`, text.guid) == 1
	})
	for price, s := range unreadable {
		b.await("the price "+price+" in held", func() bool {
			h := b.heldKey(ctx, "translate", "lakeshore/skyslope/main/sale/"+s.guid)
			return h.Kind == "parked" && h.Cause == "contract broken: /salePrice"
		})
	}
	b.await("the status that nobody knows, as it came", func() bool {
		return b.one(ctx, "SELECT count(*) FROM warehouse.deal WHERE source_id = $1 AND status = 'UNKNOWN' AND vendor_status = 'Frobnicated'", word.guid) == 1
	})
	b.await("the large one's sentence", func() bool {
		return strings.Contains(b.command(ctx, "why", "lakeshore/skyslope/main/sale/"+large.guid), "large")
	})
}

func TestFullDiskIsOneSentenceAndLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("NOT TRIED: a full disk needs a small one, and mounting it needs root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	b := startOn(t, filepath.Join(disk, "bus"), testkit.Database(t))
	ctx := t.Context()
	s := b.sale(ctx, "lakeshore", 1)
	b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	// The vendor keeps its records on the same disk, so it changes them while nobody reads. A record
	// that is larger than a page of the disk finds no room at the end of a file.
	require.True(t, b.Signal("fetch", syscall.SIGSTOP))
	b.put(ctx, s, `{"status":"Pending","comments":"`+strings.Repeat("x", 64<<10)+`"}`)
	_, err = io.Copy(f, io.LimitReader(zeros{}, 64<<20))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	require.True(t, b.Signal("fetch", syscall.SIGCONT))
	b.await("the sentence", func() bool {
		return strings.Contains(b.Said(), "the disk of "+filepath.Join(b.Dir, "kafka")+" is full: free some space; what was acknowledged is kept")
	})
	require.NoError(t, os.Remove(filler))
	b.await("the deal's stage", func() bool { return b.stage(ctx, s) == "Under Contract" })
	b.settled(ctx)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func (b *bus) exec(ctx context.Context, sql string) {
	b.t.Helper()
	_, err := b.Pool.Exec(ctx, sql)
	require.NoError(b.t, err)
}

func (b *bus) one(ctx context.Context, sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(ctx, sql, args...).Scan(&n))
	return n
}

// register registers a type that this build does not know, with one int, and returns its id.
func (b *bus) register(ctx context.Context, name string) byte {
	b.t.Helper()
	dot := strings.LastIndexByte(name, '.')
	schema := fmt.Sprintf(`{"type":"record","namespace":%q,"name":%q,"fields":[{"name":"on","type":"int"}]}`, name[:dot], name[dot+1:])
	body, err := json.Marshal(map[string]string{"schema": schema})
	require.NoError(b.t, err)
	at := b.Info.Registry + "/subjects/" + b.Info.TopicPrefix + "deals.v1-" + name + "/versions"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	var answer struct {
		ID byte `json:"id"`
	}
	require.NoError(b.t, json.NewDecoder(resp.Body).Decode(&answer))
	require.NoError(b.t, resp.Body.Close())
	require.NotZero(b.t, answer.ID, resp.Status)
	return answer.ID
}

// produce writes a record of a deal's key to deals.v1.
func (b *bus) produce(ctx context.Context, s sale, value []byte, ceType string) {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Info.Kafka))
	require.NoError(b.t, err)
	defer cl.Close()
	r := &kgo.Record{Topic: b.Info.TopicPrefix + "deals.v1", Key: []byte(s.tenant + "/skyslope/main/sale/" + s.guid), Value: value}
	if ceType != "" {
		r.Headers = []kgo.RecordHeader{{Key: "ce_type", Value: []byte(ceType)}}
	}
	require.NoError(b.t, cl.ProduceSync(ctx, r).FirstErr())
}
