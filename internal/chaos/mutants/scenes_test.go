package mutants

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/chaos"
)

// scenes are played by name. Each ends clean on an unbroken bus.
var scenes = map[string]func(context.Context, *lab){
	"the door is killed":          doorKilled,
	"a sender leaves":             senderLeaves,
	"translate is killed":         translateKilled,
	"records come twice":          twice,
	"translate wakes":             translateWakes,
	"an adapter wakes":            adapterWakes,
	"the door is full":            doorFull,
	"old snapshots come late":     snapshotsLate,
	"an account is refused":       accountRefused,
	"the past comes back":         past,
	"a record is cut off":         cutOff,
	"a record is deleted":         deleted,
	"a schema comes late":         schemaLate,
	"a destination is forgotten":  forgotten,
	"a price comes back":          priceBack,
	"three processes call":        threeProcesses,
	"a stranger's body is signed": strangersBody,
}

// strike arms a crash point in a process, and waits until it has struck.
func (l *lab) strike(process, point, fault string, while func()) {
	l.t.Helper()
	l.strikes++
	id := fmt.Sprintf("strike-%d", l.strikes)
	require.NoError(l.t, os.WriteFile(filepath.Join(l.plan, "plan"), fmt.Appendf(nil, "%s %s %s %s 1 1\n", id, process, point, fault), 0o600))
	while()
	l.await(point+" to strike", func() bool {
		_, err := os.Stat(filepath.Join(l.plan, id+".reached"))
		return err == nil
	})
	require.NoError(l.t, os.Remove(filepath.Join(l.plan, "plan")))
}

// underWay is how long what is under way has to come as far as it can.
const underWay = 700 * time.Millisecond

// doorKilled kills the door while Kafka has acknowledged nothing of twenty webhooks.
func doorKilled(ctx context.Context, l *lab) {
	s := l.sale("lakeshore", 1)
	l.rest()
	l.signal("broker", syscall.SIGSTOP)
	for n := range 20 {
		l.paper(s, n)
	}
	chaos.Pause(ctx, underWay)
	l.signal("ingest", syscall.SIGKILL)
	l.signal("broker", syscall.SIGCONT)
}

// translateKilled kills translate when it is about to produce what it has made of a batch.
func translateKilled(_ context.Context, l *lab) {
	l.told(5)
	l.strike("translate", "produce.before", "kill", func() {
		for n := range 5 {
			l.sale("lakeshore", n)
		}
	})
}

// translateWakes stops translate between the acknowledgement of a batch and its commit. Another takes
// its place and goes on, before it wakes.
func translateWakes(ctx context.Context, l *lab) {
	s := l.sale("lakeshore", 1)
	l.rest()
	pid := l.Children()["translate"]
	l.strike("translate", "produce.after", "stop", func() { l.put(s, `{"status":"Pending"}`) })
	stand := l.stage(ctx, "translate", "up-translate")
	l.put(s, `{"salePrice":410000}`)
	l.await("the other's work", func() bool {
		return l.one("SELECT count(*) FROM warehouse.deal WHERE deal_key = $1 AND sale_price_minor = 41000000", s.key()) == 1
	})
	require.NoError(l.t, syscall.Kill(pid, syscall.SIGCONT))
	chaos.Pause(ctx, 3*time.Second)
	require.NoError(l.t, stand.Process.Signal(syscall.SIGTERM))
}

// adapterWakes stops the CRM's adapter when it has claimed a note and not looked at its token. Another
// takes its place, a person settles what it finds in doubt, and then the first one wakes.
func adapterWakes(ctx context.Context, l *lab) {
	s := l.sale("lakeshore", 1)
	l.rest()
	pid := l.Children()["adapter followupboss"]
	l.strike("adapter-followupboss", "claim.after", "stop", func() { l.paper(s, 1) })
	stand := l.stage(ctx, "adapter followupboss", "up-adapter-followupboss")
	l.await("the other's note", func() bool {
		_, err := l.Operate(ctx)
		require.NoError(l.t, err)
		return l.noted("lakeshore") == 1
	})
	require.NoError(l.t, syscall.Kill(pid, syscall.SIGCONT))
	chaos.Pause(ctx, 3*time.Second)
	require.NoError(l.t, stand.Process.Signal(syscall.SIGTERM))
}

// again produces records once more, where they were.
func (l *lab) again(ctx context.Context, records []*kgo.Record) {
	l.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.Info.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(l.t, err)
	defer cl.Close()
	copies := make([]*kgo.Record, len(records))
	for i, r := range records {
		copies[i] = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers}
	}
	require.NoError(l.t, cl.ProduceSync(ctx, copies...).FirstErr())
}

func (l *lab) read(ctx context.Context, topics ...string) []*kgo.Record {
	l.t.Helper()
	for i, t := range topics {
		topics[i] = l.Info.TopicPrefix + t
	}
	all, err := l.Read(ctx, topics...)
	require.NoError(l.t, err)
	return all
}

// twice has every event come again, and some before the first copy is looked at.
func twice(ctx context.Context, l *lab) {
	l.told(10)
	s := l.sale("lakeshore", 1)
	l.rest()
	l.signal("adapter timeline", syscall.SIGSTOP)
	l.put(s, `{"status":"Pending"}`)
	l.await("the event", func() bool {
		return l.one("SELECT count(*) FROM warehouse.deal WHERE deal_key = $1 AND vendor_status = 'Pending'", s.key()) == 1
	})
	l.again(ctx, l.read(ctx, "deals.v1", "contacts.v1"))
	l.signal("adapter timeline", syscall.SIGCONT)
}

// past drops the ledgers' rows, as retention does, and has the older half of the events come again.
func past(ctx context.Context, l *lab) {
	l.told(10)
	n, err := l.Past(ctx)
	require.NoError(l.t, err)
	require.NotZero(l.t, n)
	l.handled()
}

// snapshotsLate has the older half of each record's snapshots come again, behind the newest.
func snapshotsLate(ctx context.Context, l *lab) {
	l.told(10)
	all := l.read(ctx, "snapshots.skyslope.v1", "snapshots.docusign.v1")
	count, seen := map[string]int{}, map[string]int{}
	for _, r := range all {
		count[string(r.Key)]++
	}
	var old []*kgo.Record
	for _, r := range all {
		if seen[string(r.Key)]++; seen[string(r.Key)] <= count[string(r.Key)]/2 {
			old = append(old, r)
		}
	}
	require.NotEmpty(l.t, old)
	l.again(ctx, old)
	l.handled()
}

// accountRefused has the CRM refuse a brokerage's key for the time of a story, and take it again when all
// of the story waits.
func accountRefused(ctx context.Context, l *lab) {
	l.control(http.MethodPost, "/followupboss/faults", `{"account":"lakeshore","fault":"unauthorized"}`, nil)
	require.NoError(l.t, l.Story(ctx, 8, 20, 20))
	l.await("the end of the story", func() bool { return l.Told(ctx) })
	l.handled()
	l.await("many records in the queue", func() bool { return l.one("SELECT coalesce(sum(count), 0) FROM followupboss.queued_key") > 20 })
	l.control(http.MethodDelete, "/followupboss/faults", "", nil)
}

// deleted deletes an envelope at the vendor that nobody signed, and says that it changed.
func deleted(ctx context.Context, l *lab) {
	p := l.envelope(l.sale("lakeshore", 1), 1, "sent")
	l.rest()
	l.await("the envelope", func() bool {
		return l.one(`SELECT count(*) FROM "fetch".resource WHERE id = $1 AND digest <> ''`, p.id) == 1
	})
	l.control(http.MethodDelete, "/docusign/envelopes/"+p.id+"?tenant="+p.tenant, "", nil)
	l.deliver(ctx, l.thin(p, 1, accountIDs[p.tenant]))
	l.await("an answer of 404", func() bool { return l.asked(http.StatusNotFound) })
}

// asked says whether DocuSign has given an answer.
func (l *lab) asked(status int) bool {
	l.t.Helper()
	var all []struct{ Status int }
	l.control(http.MethodGet, "/docusign/requests", "", &all)
	for _, r := range all {
		if r.Status == status {
			return true
		}
	}
	return false
}

// forgotten drops a destination: it is to be built anew from the log.
func forgotten(ctx context.Context, l *lab) {
	l.told(5)
	l.Stop(syscall.SIGTERM)
	l.forget(ctx, "warehouse")
	l.begin()
}

// priceBack has a price go up, come back, and go up again.
func priceBack(_ context.Context, l *lab) {
	s := l.sale("lakeshore", 1)
	l.rest()
	for _, price := range []int{450_000, 400_001} {
		l.put(s, fmt.Sprintf(`{"salePrice":%d}`, price))
		l.await("the price in the warehouse", func() bool {
			return l.one("SELECT count(*) FROM warehouse.deal WHERE deal_key = $1 AND sale_price_minor = $2", s.key(), 100*price) == 1
		})
	}
	l.put(s, `{"salePrice":450000}`)
	l.await("the price in translate", func() bool {
		return l.one("SELECT revision FROM translate.translate_state WHERE resource = $1", s.key()) == 4
	})
}

// threeProcesses has three processes of the CRM's adapter write more notes than the vendor takes.
func threeProcesses(ctx context.Context, l *lab) {
	const papers = 40
	l.quota = true
	var sales []sale
	for n := range papers {
		sales = append(sales, l.sale("lakeshore", n))
	}
	l.rest()
	l.stage(ctx, "adapter followupboss", "second")
	l.stage(ctx, "adapter followupboss", "third")
	l.await("partitions of the second", func() bool {
		return l.one("SELECT count(DISTINCT epoch) FROM followupboss.consumer_offsets WHERE topic = 'deals.v1'") > 1
	})
	for n, s := range sales {
		l.paper(s, n)
	}
	l.await("all notes", func() bool { return l.noted("lakeshore") >= papers })
}
