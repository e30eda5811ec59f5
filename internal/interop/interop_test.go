//go:build interop

package interop_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/devstack/broker"
	"conveyance/internal/devstack/registry"
	"conveyance/internal/testkit"
	"conveyance/internal/topics"
)

// envPython names a Python that has the packages of requirements.txt.
const envPython = "CONVEYANCE_INTEROP_PYTHON"

func TestPythonReadsDealsThroughTheEmbeddedBrokerAndRegistry(t *testing.T) {
	t.Parallel()
	brokers, registryURL := serve(t)
	sent := deals()
	produce(t, brokers, registryURL, sent)

	lines := python(t, "read_deals.py", brokers, registryURL, topic.PrefixDefault+topic.Deals, len(sent))
	require.Len(t, lines, len(sent)+1)
	got := map[string]event.Event{} // by key
	for _, line := range lines[:len(sent)] {
		var read struct {
			Key     string            `json:"key"`
			Headers map[string]string `json:"headers"`
			Event   json.RawMessage   `json:"event"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &read), line)
		m, ok := event.New(event.Type(strings.TrimPrefix(read.Headers["ce_type"], schema.Namespace+".")))
		require.True(t, ok, line)
		fields := json.NewDecoder(bytes.NewReader(read.Event))
		fields.DisallowUnknownFields()
		require.NoError(t, fields.Decode(m), line)
		got[read.Key] = m.(event.Event)
	}
	for key, want := range sent {
		require.Empty(t, cmp.Diff(want, got[key], cmpopts.EquateEmpty()), key)
	}

	var told struct {
		Registry map[string]struct {
			ID           int    `json:"id"`
			Version      int    `json:"version"`
			Again        int    `json:"again"`
			Level        string `json:"level"`
			ReadsItself  bool   `json:"reads_itself"`
			ReadsAString bool   `json:"reads_a_string"`
		} `json:"registry"`
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(sent)]), &told))
	require.Len(t, told.Registry, 4, "one subject for each type on deals.v1")
	for subject, s := range told.Registry {
		require.Equal(t, s.ID, s.Again, subject)
		require.Equal(t, 1, s.Version, subject)
		require.Equal(t, "FULL_TRANSITIVE", s.Level, subject)
		require.True(t, s.ReadsItself, subject)
		require.False(t, s.ReadsAString, subject)
	}
}

// serve starts what up would, with topics made and schemas registered.
func serve(t *testing.T) (brokers, registryURL string) {
	t.Helper()
	dir := t.TempDir()
	b, err := broker.Start(t.Context(), broker.Options{Dir: filepath.Join(dir, "kafka"), Log: testkit.Log(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Stop()) })
	r, err := registry.Open(filepath.Join(dir, "registry.json"))
	require.NoError(t, err)
	srv := httptest.NewServer(r.Handler())
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, r.Close())
	})
	table := topic.Table(2)
	registrar, err := wire.NewRegistrar(srv.URL, topic.PrefixDefault, table)
	require.NoError(t, err)
	_, err = registrar.Register(t.Context(), schema.All())
	require.NoError(t, err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	_, err = topics.Apply(t.Context(), kadm.NewClient(cl), topics.Want{Prefix: topic.PrefixDefault, Table: table, Replication: 1})
	require.NoError(t, err)
	return b.Addr(), srv.URL
}

func produce(t *testing.T, brokers, registryURL string, events map[string]event.Event) {
	t.Helper()
	codec, err := wire.New(wire.Config{Registry: registryURL, Prefix: topic.PrefixDefault})
	require.NoError(t, err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.DefaultProduceTopic(topic.PrefixDefault+topic.Deals))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	for key, e := range events {
		value, err := codec.AppendEncode(t.Context(), nil, topic.Deals, e)
		require.NoError(t, err)
		record := &kgo.Record{
			Key: []byte(key), Value: value,
			Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte(schema.Namespace + "." + string(e.Type()))}},
		}
		require.NoError(t, cl.ProduceSync(t.Context(), record).FirstErr())
	}
}

// python runs a script and returns its lines.
func python(t *testing.T, args ...any) []string {
	t.Helper()
	exe := os.Getenv(envPython)
	if exe == "" {
		exe = "python3"
	}
	var texts []string
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			texts = append(texts, arg)
		case int:
			texts = append(texts, strconv.Itoa(arg))
		}
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, texts...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(t, cmd.Run(), "%s needs the packages of requirements.txt, see %s: %s", exe, envPython, &problems)
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

// deals are events with everything that a codec can get wrong: nulls and values, empty and full
// lists, every kind of time, money at both ends, scripts beyond ASCII.
func deals() map[string]event.Event {
	at := time.Date(2026, time.November, 24, 9, 30, 15, int(678*time.Millisecond), time.UTC)
	day := func(y int, m time.Month, d int) *time.Time {
		t := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		return &t
	}
	text := func(s string) *string { return &s }
	origin := func(id string, revision int64, t event.Type) event.Origin {
		r := event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: id}
		return event.Origin{
			EventID: event.ID(at, r, revision, t, "").String(), Resource: r, Revision: revision, FirstSight: revision == 1, ReadAt: at,
		}
	}
	full := event.Deal{
		DealKey: "lakeshore/skyslope/main/sale/1", Name: "12 Rue de l’Église", Status: event.TransactionStatusUnderContract,
		VendorStatus: "Pending", ListingStatus: text("Pending"), Representation: event.RepresentationBuyer, DealType: "Purchase",
		Property:  &event.Address{Street: "12 Rue de l’Église", Unit: "№ 4", City: "Montréal", StateOrProvince: "QC", PostalCode: "H2Y 1C6", Country: "CA"},
		ListPrice: &event.Money{Currency: "CAD", Minor: 1<<53 + 1}, SalePrice: &event.Money{Currency: "CAD", Minor: -1},
		EarnestMoney: &event.Money{Currency: "CAD"},
		ContractDate: day(2026, time.October, 31), ExpirationDate: day(1969, time.December, 31), CloseDate: day(2400, time.February, 29),
		Participants: []event.Participant{{
			Role: event.ParticipantRoleBuyer, VendorRole: "Buyer 買主", Client: true,
			Contact: event.Contact{
				ContactKey: "c1", FirstName: "Zoë", LastName: "Ångström", FullName: "Zoë Ångström",
				Emails: []string{"zoe@example.com", "z@example.org"}, Phones: []string{"+15145550100"}, Address: &event.Address{City: "Québec"},
			},
		}},
		Agents: []event.Agent{{AgentKey: "a1", Role: event.AgentRolePrimary, Name: "O’Neil 🏠", Email: "agent@example.com"}},
		Commission: &event.Commission{
			Gross: &event.Money{Currency: "CAD", Minor: 2500000}, Fees: []event.Fee{{Name: "TC", Amount: event.Money{Currency: "CAD", Minor: 39500}}}, Final: true,
		},
		CreatedAt: &at,
	}
	sparse := event.Deal{DealKey: "lakeshore/skyslope/main/sale/2", Status: event.TransactionStatusUnknown, Representation: event.RepresentationUnknown, Gone: true}
	first := &event.DealChanged{Origin: origin("1", 1, event.TypeDealChanged), Deal: full, Changed: []string{"name", "status"}}
	first.Origin.ChangedAt, first.Origin.Correction = &at, text("mapping of 2026-11 mended")
	before := event.TransactionStatusUnderContract
	closed := &event.TransactionStatusChanged{Origin: origin("3", 2, event.TypeTransactionStatusChanged), Deal: sparse, Previous: &before}
	return map[string]event.Event{
		full.DealKey:                     first,
		sparse.DealKey:                   &event.DealChanged{Origin: origin("2", 7, event.TypeDealChanged), Deal: sparse},
		"lakeshore/skyslope/main/sale/3": closed,
	}
}
