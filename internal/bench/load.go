package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// keys is how many deals the load is about.
const keys = 5000

// topicOf makes a topic of the bus on the lab's broker.
func (l *lab) topicOf(ctx context.Context, name string) error {
	cl, err := l.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	limit := fmt.Sprint(topic.SnapshotBytesMax)
	_, err = kadm.NewClient(cl).CreateTopic(ctx, topic.PartitionsDefault, 1, map[string]*string{"max.message.bytes": &limit}, name)
	if err != nil {
		return fmt.Errorf("making topic %s: %w", name, err)
	}
	return nil
}

// fill produces n messages that make gives, in order per key.
func (l *lab) fill(ctx context.Context, name string, n int, make func(i int) (key string, m event.Message)) error {
	if err := l.topicOf(ctx, name); err != nil {
		return err
	}
	cl, err := l.client(kgo.ProducerBatchMaxBytes(topic.SnapshotBytesMax))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	for i := range n {
		key, m := make(i)
		value, err := l.codec.AppendEncode(ctx, nil, name, m)
		if err != nil {
			return err
		}
		cl.Produce(ctx, &kgo.Record{Topic: name, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("filling %s: %w", name, *err)
	}
	return nil
}

// deal is the i-th change of some deal: rich, as a vendor's record makes it.
func deal(r *rand.Rand, i int) *event.DealChanged {
	res := event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: fmt.Sprintf("5342bb92-4f6d-4df2-bb03-%012d", i%keys)}
	revision := int64(i/keys + 1)
	at := time.UnixMilli(1_780_000_000_000 + int64(i)).UTC()
	day := at.Truncate(24 * time.Hour)
	money := func(dollars int64) *event.Money { return &event.Money{Currency: "USD", Minor: dollars * 100} }
	person := func(n int) event.Contact {
		return event.Contact{
			ContactKey: fmt.Sprintf("key-%d-%d", i%keys, n), FirstName: "Robin", LastName: "Example", FullName: "Robin Example",
			Emails: []string{fmt.Sprintf("robin.%d.%d@example.com", i%keys, n)}, Phones: []string{"+13125550142"},
		}
	}
	d := event.Deal{
		DealKey: res.Key(), Name: fmt.Sprintf("%d Example Street", i%keys), Status: event.TransactionStatusUnderContract,
		VendorStatus: "Pending", Representation: event.RepresentationBuyer, DealType: "Purchase", MLSNumber: fmt.Sprintf("MLS%07d", i%keys),
		Property:  &event.Address{Street: fmt.Sprintf("%d Example Street", i%keys), City: "Springfield", StateOrProvince: "IL", PostalCode: "62701", Country: "US"},
		ListPrice: money(500_000 + r.Int64N(50_000)), SalePrice: money(500_000 + r.Int64N(50_000)), EarnestMoney: money(5000),
		ContractDate: &day, ProjectedCloseDate: &day, CreatedAt: &at,
		Participants: []event.Participant{
			{Role: event.ParticipantRoleBuyer, VendorRole: "buyers", Client: true, Contact: person(1)},
			{Role: event.ParticipantRoleSeller, VendorRole: "sellers", Contact: person(2)},
			{Role: event.ParticipantRoleEscrowOfficer, VendorRole: "escrowContact", Contact: person(3)},
		},
		Agents: []event.Agent{{AgentKey: "48433422", Role: event.AgentRolePrimary, Name: "Kim Example", Email: "kim@example.com"}},
	}
	return &event.DealChanged{
		Origin: event.Origin{
			EventID:  event.ID(at, res, revision, event.TypeDealChanged, "").String(),
			Resource: res, Revision: revision, FirstSight: revision == 1, ReadAt: at, ChangedAt: &at,
		},
		Deal: d, Changed: []string{"sale_price"},
	}
}

// engine runs an engine made by build until its handler has seen n records, and returns the rate
// from the first record on.
func (l *lab) engine(ctx context.Context, name string, n int, build func(stream.Config, *counter) (*stream.Engine, error)) (float64, error) {
	group := l.group()
	m := postgres.Migrations{Schema: group, Set: "engine", Files: ledger.Migrations()}
	if err := m.Apply(ctx, l.pg.URL); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &counter{want: int64(n), done: cancel}
	e, err := build(stream.Config{Group: group, Topics: []string{name}}, c)
	if err != nil {
		return 0, err
	}
	err = e.Run(ctx)
	if c.seen.Load() < c.want {
		return 0, errors.Join(fmt.Errorf("the engine ended after %d of %d records", c.seen.Load(), n), err)
	}
	return c.rate(), nil
}

// counter times a run from its first record to its last.
type counter struct {
	want        int64
	seen        atomic.Int64
	first, last atomic.Int64 // nanoseconds
	done        func()
}

func (c *counter) add(n int) {
	now := time.Now().UnixNano()
	c.first.CompareAndSwap(0, now)
	if c.seen.Add(int64(n)) >= c.want {
		c.last.CompareAndSwap(0, now)
		c.done()
	}
}

func (c *counter) rate() float64 {
	return float64(c.want) / time.Duration(c.last.Load()-c.first.Load()).Seconds()
}

// bare polls a topic with a plain client, hands each fetch to work, and returns the rate.
func (l *lab) bare(ctx context.Context, name string, n int, work func(context.Context, []*kgo.Record) error) (float64, error) {
	cl, err := l.client(kgo.ConsumeTopics(name), kgo.ConsumerGroup(l.group()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &counter{want: int64(n), done: cancel}
	for c.seen.Load() < c.want {
		fetches := cl.PollRecords(ctx, 5000)
		if err := fetches.Err0(); err != nil {
			return 0, err
		}
		records := fetches.Records()
		c.first.CompareAndSwap(0, time.Now().UnixNano())
		if err := work(context.WithoutCancel(ctx), records); err != nil {
			return 0, err
		}
		c.add(len(records))
	}
	return c.rate(), nil
}
