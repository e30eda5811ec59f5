package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/processors/translate"
	"conveyance/producers"
	"conveyance/producers/register"
)

// sale is a file as SkySlope answers it: two clients, a few contacts, a commission.
const sale = `{"objectType":"sale","saleGuid":"%s","listingGuid":null,"agentGuid":"48433422-c9d7-4f5b-979c-b26a9fad130d",
"mlsNumber":"MLS204417","escrowNumber":"ESC-88121","statusId":3,"status":"Pending","checklistType":"Residential",
"escrowClosingDate":"2026-03-27T00:00:00","actualClosingDate":"0001-01-01T00:00:00","contractAcceptanceDate":"2026-02-13T00:00:00",
"modifiedOn":"%s","createdOn":"2026-02-01T10:00:00.000","dealType":"Purchase","listingPrice":455000,"salePrice":%d,
"property":{"streetNumber":"1420","streetAddress":"N Larkspur Lane","unit":"3B","city":"Fairmont Bay","state":"IL","zip":"60601"},
"buyers":[{"contactGuid":"c-1","firstName":"Mira","lastName":"Holt","email":"mira.%[4]d@example.com","phoneNumber":"(312) 555-0190"}],
"sellers":[{"contactGuid":"c-2","firstName":"Otis","lastName":"Marlowe","email":"otis.%[4]d@example.com","phoneNumber":"(773) 555-0144"}],
"escrowContact":{"firstName":"Uma","lastName":"Vale","email":"uma@example.com","phoneNumber":"(312) 555-0101"},
"commission":{"officeGrossCommission":13485,"saleCommissionAmount":13485},"commissionSplits":[],"commissionBreakdowns":[],
"stage":{"id":1,"name":"Open"},"coAgentGuids":null,"earnestMoneyDeposit":{"isEarnestMoneyHeld":true,"depositAmount":4500},"customFields":[]}`

const agents = `{"users":[{"userGuid":"48433422-c9d7-4f5b-979c-b26a9fad130d","firstName":"Ada","lastName":"Quill","email":"ada.quill@example.com","phone":"(312) 555-0192","userType":"Agent"}]}`

func snapshot(i int) *event.VendorSnapshot {
	at := time.UnixMilli(1_780_000_000_000 + int64(i)).UTC()
	guid := fmt.Sprintf("5342bb92-4f6d-4df2-bb03-%012d", i%keys)
	body := fmt.Sprintf(sale, guid, at.Format("2006-01-02T15:04:05.000"), 440_000+i%10_000, i%keys)
	return &event.VendorSnapshot{
		Resource: event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: guid},
		Version:  at.UnixMilli(), Token: int64(i + 1), ReadAt: at, Digest: strconv.Itoa(i), Lane: "live",
		Parts: []event.Part{
			{Name: "sale", Status: 200, FetchedAt: at, Body: []byte(body)},
			{Name: "agents", Status: 200, FetchedAt: at, Body: []byte(agents)},
		},
	}
}

// translateBench turns snapshots into events. The ceiling does the same from bytes to bytes: it
// decodes a snapshot, maps its JSON, compares it with the one before, which it has in a map, encodes
// the events between them and produces them, without any of what makes them safe to rely on. Both run
// in a process that collects its garbage as the command's does.
func translateBench(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	defer translate.CollectRarely()()
	n := l.o.Records / 2
	in := topic.Snapshots("skyslope")
	if err := l.fill(ctx, in, n, func(i int) (string, event.Message) {
		s := snapshot(i)
		return s.Resource.Key(), s
	}); err != nil {
		return ours, ceiling, err
	}
	for _, t := range []string{topic.Deals, topic.Contacts, bareDeals, bareContacts} {
		if err := l.topicOf(ctx, t); err != nil {
			return ours, ceiling, err
		}
	}
	return l.inTurn(
		func() (sample, error) { return l.translateOurs(ctx, in, n) },
		func() (sample, error) { return l.translateBare(ctx, in, n) },
	)
}

func (l *lab) translateOurs(ctx context.Context, in string, n int) (sample, error) {
	vendors, err := register.Vendors(producers.Deps{})
	if err != nil {
		return sample{}, err
	}
	return l.engine(ctx, in, n, func(cfg stream.Config, c *counter) (*stream.Engine, error) {
		own := postgres.Migrations{Schema: cfg.Group, Set: "own", Files: translate.Migrations()}
		if err := own.Apply(ctx, l.pg.URL); err != nil {
			return nil, err
		}
		h, err := translate.New(translate.Config{Schema: cfg.Group}, translate.Deps{
			Pool: l.pool, Codec: l.codec, Tenants: one{}, Vendors: vendors,
		})
		if err != nil {
			return nil, err
		}
		return stream.NewBatch(cfg, l.deps(), counted{h, c})
	})
}

// one is a directory with one brokerage.
type one struct{}

func (one) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	if id != "lakeshore" {
		return tenant.Tenant{}, tenant.ErrUnknown
	}
	return tenant.Tenant{ID: id, Name: "Lakeshore Realty", PseudonymKey: []byte("bench"), TimeZone: "America/Chicago"}, nil
}

func (o one) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	t, err := o.Tenant(ctx, "lakeshore")
	return []tenant.Tenant{t}, err
}
