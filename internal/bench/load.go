package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
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
	return createTopic(ctx, cl, name)
}

func createTopic(ctx context.Context, cl *kgo.Client, name string) error {
	limit := strconv.Itoa(topic.SnapshotBytesMax)
	_, err := kadm.NewClient(cl).CreateTopic(ctx, topic.PartitionsDefault, copies, map[string]*string{"max.message.bytes": &limit}, name)
	if err != nil {
		return fmt.Errorf("making topic %s: %w", name, err)
	}
	return nil
}

// fill publishes n messages that make gives, as a stage does: with all headers, in order per key.
// The key of the i-th is that of the (i+keys)-th, and of none between.
func (l *lab) fill(ctx context.Context, name string, n int, make func(i int) (key string, m event.Message)) error {
	l.doing("filling "+name, nil, nil)
	if err := l.topicOf(ctx, name); err != nil {
		return err
	}
	pub, err := stream.NewPublisher("", l.deps())
	if err != nil {
		return err
	}
	defer pub.Close()
	for i := 0; i < n; {
		var outs []stream.Out
		for ; i < n && len(outs) < keys/2; i++ {
			key, m := make(i)
			outs = append(outs, stream.Out{Topic: name, Key: []byte(key), Message: m})
		}
		if err := pub.Publish(ctx, outs...); err != nil {
			return err
		}
	}
	return nil
}

// fillDeals publishes changes of deals.
func (l *lab) fillDeals(ctx context.Context, n int) error {
	r := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // G404: load, not secrets
	return l.fill(ctx, topic.Deals, n, func(i int) (string, event.Message) {
		d := deal(r, i)
		return d.Deal.DealKey, d
	})
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
