package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/chaos"
	"conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit"
	"conveyance/internal/testkit/realkit"
	"conveyance/internal/topics"
)

const (
	// A change counts as stopped where it takes missedAfter, and missedTimes what it takes with all rights: one
	// to two seconds, where the machine has nothing else to do.
	missedAfter = 8 * time.Second
	missedTimes = 4
	// rightsSpread is how long a change of rights may take to reach the broker, and a member of a group, whose
	// next heartbeat is 3 s away.
	rightsSpread = 5 * time.Second
)

// secure is a bus on a real Kafka of TLS, SCRAM and ACLs, on which every process is a user of its own that has
// the rights of topics acls and no other.
type secure struct {
	*bus
	kafka  *kafka.Cluster
	adm    *kadm.Client
	rights []topics.Right
}

func startSecure(t *testing.T) *secure {
	t.Helper()
	s := &secure{kafka: realkit.Kafka(t, kafka.Options{Security: kafka.TLS, Doors: []kafka.Door{{Name: "LAB", Lab: true}}})}
	exe := build(t)
	secrets := t.TempDir()
	t.Setenv("CONVEYANCE_KAFKA_TLS_CA", s.kafka.CA())
	t.Setenv("CONVEYANCE_KAFKA_SASL_PASSWORD_FILE", filepath.Join(secrets, "{process}"))

	t.Setenv("CONVEYANCE_KAFKA_SASL_USER", kafka.Admin) // whoever runs the cluster grants
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "operator"), []byte(kafka.AdminPassword), 0o600))
	grant := exec.CommandContext(t.Context(), exe, "topics", "acls", "--apply", "--json", "--kafka", s.kafka.Bootstrap())
	var said bytes.Buffer
	grant.Stderr = &said
	out, err := grant.Output()
	require.NoError(t, err, "%s", said.String())
	users := map[string]string{}
	for line := range bytes.Lines(out) {
		var r struct {
			topics.Right
			Op string `json:"operation"`
		}
		require.NoError(t, json.Unmarshal(line, &r))
		require.NoError(t, r.Operation.UnmarshalText([]byte(r.Op)))
		s.rights = append(s.rights, r.Right)
		users[strings.ReplaceAll(r.Process, " ", "-")] = strings.TrimPrefix(r.Principal, "User:")
	}
	for process, user := range users {
		require.NoError(t, os.WriteFile(filepath.Join(secrets, process), []byte("secret of "+process), 0o600))
		require.NoError(t, s.kafka.AddUser(t.Context(), user, "secret of "+process))
	}
	t.Setenv("CONVEYANCE_KAFKA_SASL_USER", "conveyance.{process}")
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Door("LAB")))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	s.adm = kadm.NewClient(cl)

	lab, err := chaos.Start(t.Context(), chaos.Config{
		Exe: exe, Dir: filepath.Join(t.TempDir(), "bus"), Kafka: s.kafka.Bootstrap(), Postgres: testkit.Database(t),
	})
	require.NoError(t, err)
	lab.Info.Kafka = s.kafka.Door("LAB") // the lab looks by a door of its own
	s.bus = ending(t, lab)
	return s
}

// change brings a new deal, and a signed envelope of it, which touch every topic that is written.
func (s *secure) change(ctx context.Context, n int) {
	sale := s.sale(ctx, "lakeshore", n)
	s.paper(ctx, "lakeshore", n, sale.guid, sale.email)
}

// arrived is true where everything has reached every destination within d.
func (s *secure) arrived(ctx context.Context, d time.Duration) bool {
	for until := time.Now().Add(d); time.Now().Before(until); chaos.Pause(ctx, 250*time.Millisecond) {
		if v, err := s.Judge(ctx); err == nil && v.Clean() {
			return true
		}
	}
	return false
}

func TestEachRightIsNeededAndNoFurtherOne(t *testing.T) {
	realkit.Wanted(t)
	s := startSecure(t)
	ctx := t.Context()
	s.change(ctx, 99)
	require.True(t, s.arrived(ctx, time.Minute), "no further right is needed")
	began := time.Now()
	s.change(ctx, 100)
	require.True(t, s.arrived(ctx, time.Minute), "no further right is needed")
	missed := max(missedAfter, missedTimes*time.Since(began))
	t.Logf("with all rights a change is everywhere after %s", time.Since(began).Round(time.Millisecond))
	n := 100
	for _, r := range s.rights {
		if r.Process == "operator" {
			continue
		}
		n++
		t.Run(fmt.Sprintf("%s without %s on %s", r.Process, r.Operation, r.Name), func(t *testing.T) {
			require.NoError(t, topics.Withdraw(ctx, s.adm, []topics.Right{r}))
			chaos.Pause(ctx, rightsSpread)
			s.change(ctx, n)
			works := s.arrived(ctx, missed)
			require.NoError(t, topics.Grant(ctx, s.adm, []topics.Right{r}))
			require.False(t, works, "it works without the right: take it off the list")
			require.True(t, s.arrived(ctx, time.Minute), "it goes on once the right is back")
		})
	}
}
