package bench

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// Where the ceiling produces to.
const bareDeals, bareContacts = "bare.deals.v1", "bare.contacts.v1"

// bareSale is what the ceiling reads of a sale.
type bareSale struct {
	Status    string  `json:"status"`
	DealType  string  `json:"dealType"`
	MLS       string  `json:"mlsNumber"`
	Escrow    string  `json:"escrowNumber"`
	Created   string  `json:"createdOn"`
	Modified  string  `json:"modifiedOn"`
	Closing   string  `json:"escrowClosingDate"`
	Accepted  string  `json:"contractAcceptanceDate"`
	ListPrice float64 `json:"listingPrice"`
	SalePrice float64 `json:"salePrice"`
	Property  struct {
		Number string `json:"streetNumber"`
		Street string `json:"streetAddress"`
		Unit   string `json:"unit"`
		City   string `json:"city"`
		State  string `json:"state"`
		Zip    string `json:"zip"`
	} `json:"property"`
	Buyers, Sellers []barePerson
	EscrowContact   *barePerson `json:"escrowContact"`
	Commission      struct {
		Gross float64 `json:"officeGrossCommission"`
	} `json:"commission"`
	Earnest struct {
		Amount float64 `json:"depositAmount"`
	} `json:"earnestMoneyDeposit"`
}

type barePerson struct {
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	Email     string `json:"email"`
	Phone     string `json:"phoneNumber"`
}

type bareAgents struct {
	Users []struct {
		GUID string `json:"userGuid"`
		barePerson
	} `json:"users"`
}

// bareLoop is the ceiling's memory and its way out.
type bareLoop struct {
	reader  avro.Schema
	writers map[event.Type]avro.Schema
	before  map[string]*event.Deal
	out     *kgo.Client
	failed  atomic.Pointer[error]
}

func (l *lab) translateBare(ctx context.Context, in string, n int) (sample, error) {
	b := &bareLoop{writers: map[event.Type]avro.Schema{}, before: map[string]*event.Deal{}}
	for _, t := range []event.Type{
		event.TypeVendorSnapshot, event.TypeDealChanged, event.TypeTransactionStatusChanged,
		event.TypeCommissionChanged, event.TypeContactChanged,
	} {
		s, err := avro.Parse(schema.All()[string(t)])
		if err != nil {
			return sample{}, err
		}
		b.writers[t] = s
	}
	b.reader = b.writers[event.TypeVendorSnapshot]
	var err error
	if b.out, err = l.client(); err != nil {
		return sample{}, err
	}
	defer b.out.Close()
	return l.bare(ctx, in, n, func(ctx context.Context, records []*kgo.Record) error {
		for _, rec := range records {
			if err := b.translate(ctx, rec); err != nil {
				return err
			}
		}
		if err := b.out.Flush(ctx); err != nil {
			return err
		}
		if err := b.failed.Load(); err != nil {
			return *err
		}
		return nil
	})
}

func (b *bareLoop) translate(ctx context.Context, rec *kgo.Record) error {
	var s event.VendorSnapshot
	if err := bareAPI.Unmarshal(b.reader, rec.Value[frameBytes:], &s); err != nil {
		return err
	}
	now, commission, err := bareDeal(&s)
	if err != nil {
		return err
	}
	key := string(rec.Key)
	was := b.before[key]
	b.before[key] = now
	origin := func(t event.Type, subject string) event.Origin {
		return event.Origin{
			EventID:  event.ID(s.ReadAt, s.Resource, s.Token, t, subject).String(),
			Resource: s.Resource, Revision: s.Token, FirstSight: was == nil, ReadAt: s.ReadAt, Subject: subject,
		}
	}
	if was == nil || !reflect.DeepEqual(was, now) {
		m := &event.DealChanged{Origin: origin(event.TypeDealChanged, ""), Deal: *now, Changed: []string{"sale_price"}}
		if err := b.produce(ctx, bareDeals, rec.Key, m); err != nil {
			return err
		}
	}
	if was == nil || was.Status != now.Status {
		m := &event.TransactionStatusChanged{Origin: origin(event.TypeTransactionStatusChanged, ""), Deal: *now}
		if err := b.produce(ctx, bareDeals, rec.Key, m); err != nil {
			return err
		}
	}
	if was != nil {
		return b.people(ctx, was, now, origin)
	}
	m := &event.CommissionChanged{Origin: origin(event.TypeCommissionChanged, ""), Deal: *now, Commission: commission}
	if err := b.produce(ctx, bareDeals, rec.Key, m); err != nil {
		return err
	}
	return b.people(ctx, &event.Deal{}, now, origin)
}

// people emits the contacts that differ.
func (b *bareLoop) people(ctx context.Context, was, now *event.Deal, origin func(event.Type, string) event.Origin) error {
	for i, p := range now.Participants {
		if i < len(was.Participants) && reflect.DeepEqual(was.Participants[i], p) {
			continue
		}
		m := &event.ContactChanged{
			Origin: origin(event.TypeContactChanged, p.Contact.ContactKey), Contact: p.Contact, DealKey: &now.DealKey,
			Roles: []event.ParticipantRole{p.Role}, Client: p.Client, AgentEmail: now.Agents[0].Email, Changed: []string{"emails"},
		}
		if err := b.produce(ctx, bareContacts, []byte(p.Contact.ContactKey), m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bareLoop) produce(ctx context.Context, topic string, key []byte, m event.Message) error {
	value, err := bareAPI.Marshal(b.writers[m.Type()], m)
	if err != nil {
		return err
	}
	value = append(make([]byte, frameBytes, frameBytes+len(value)), value...)
	b.out.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			b.failed.Store(&err)
		}
	})
	return nil
}

func bareDeal(s *event.VendorSnapshot) (*event.Deal, event.Commission, error) {
	var v bareSale
	var c event.Commission
	if err := json.Unmarshal(s.Parts[0].Body, &v); err != nil {
		return nil, c, err
	}
	var agents bareAgents
	if err := json.Unmarshal(s.Parts[1].Body, &agents); err != nil {
		return nil, c, err
	}
	money := func(dollars float64) *event.Money { return &event.Money{Currency: "USD", Minor: int64(dollars * 100)} }
	day := func(text string) *time.Time {
		t, err := time.Parse("2006-01-02T15:04:05", text)
		if err != nil {
			return nil
		}
		return &t
	}
	d := &event.Deal{
		DealKey: s.Resource.Key(), Name: v.Property.Number + " " + v.Property.Street, Status: event.TransactionStatusUnderContract,
		VendorStatus: v.Status, Representation: event.RepresentationBuyer, DealType: v.DealType, MLSNumber: v.MLS, EscrowNumber: v.Escrow,
		Property: &event.Address{
			Street: v.Property.Number + " " + v.Property.Street, Unit: v.Property.Unit, City: v.Property.City,
			StateOrProvince: v.Property.State, PostalCode: v.Property.Zip,
		},
		ListPrice: money(v.ListPrice), SalePrice: money(v.SalePrice), EarnestMoney: money(v.Earnest.Amount),
		ContractDate: day(v.Accepted), ProjectedCloseDate: day(v.Closing), CreatedAt: day(v.Created),
	}
	add := func(role event.ParticipantRole, client bool, people ...barePerson) {
		for _, p := range people {
			email := strings.ToLower(p.Email)
			d.Participants = append(d.Participants, event.Participant{Role: role, Client: client, Contact: event.Contact{
				ContactKey: email, FirstName: p.FirstName, LastName: p.LastName, FullName: p.FirstName + " " + p.LastName,
				Emails: []string{email}, Phones: []string{p.Phone},
			}})
		}
	}
	add(event.ParticipantRoleBuyer, true, v.Buyers...)
	add(event.ParticipantRoleSeller, false, v.Sellers...)
	if v.EscrowContact != nil {
		add(event.ParticipantRoleEscrowOfficer, false, *v.EscrowContact)
	}
	for _, a := range agents.Users {
		d.Agents = append(d.Agents, event.Agent{AgentKey: a.GUID, Role: event.AgentRolePrimary, Name: a.FirstName + " " + a.LastName, Email: a.Email})
	}
	c.Gross = money(v.Commission.Gross)
	return d, c, nil
}
