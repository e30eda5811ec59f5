package kafka_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/kafka"
	realkafka "conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit/realkit"
)

func ping(t *testing.T, a kafka.Access) error {
	t.Helper()
	opts, err := a.Options("test")
	require.NoError(t, err)
	cl, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	defer cl.Close()
	return cl.Ping(t.Context())
}

// refused requires one sentence that carries each of the words, and no secret.
func refused(t *testing.T, a kafka.Access, words ...string) {
	t.Helper()
	err := kafka.Explain(ping(t, a))
	require.ErrorAs(t, err, new(*kafka.RefusedError))
	for _, w := range words {
		require.Contains(t, err.Error(), w)
	}
	require.NotContains(t, err.Error(), "\n")
	if a.Password != "" {
		require.NotContains(t, err.Error(), a.Password)
	}
}

func TestEachWayToBeRefusedIsOneSentenceWithItsRemedy(t *testing.T) {
	t.Parallel()
	real := realkit.Kafka(t, realkafka.Options{Security: realkafka.TLS, Doors: []realkafka.Door{
		{Name: "ELSEWHERE", Host: "elsewhere.example"},
		{Name: "EXPIRED", NotAfter: time.Now().Add(-time.Hour)},
	}})
	right := kafka.Access{
		Seeds: real.Addrs(), CA: real.CA(), User: realkafka.Admin, Password: realkafka.AdminPassword,
	}
	require.NoError(t, ping(t, right))
	stranger, err := realkafka.NewAuthority()
	require.NoError(t, err)
	other := filepath.Join(t.TempDir(), "other.pem")
	require.NoError(t, os.WriteFile(other, stranger.PEM(), 0o600))
	for name, c := range map[string]struct {
		with  func(*kafka.Access)
		words []string
	}{
		"wrong CA":          {func(a *kafka.Access) { a.CA = other }, []string{"authority that we do not trust", "--kafka-tls-ca"}},
		"machine's own CAs": {func(a *kafka.Access) { a.CA, a.TLS = "", true }, []string{"authority that we do not trust"}},
		"wrong host name":   {func(a *kafka.Access) { a.Seeds = []string{real.Door("ELSEWHERE")} }, []string{"not for 127.0.0.1, but for elsewhere.example"}},
		"expired":           {func(a *kafka.Access) { a.Seeds = []string{real.Door("EXPIRED")} }, []string{"was good from", "give the brokers a new one"}},
		"plaintext to TLS":  {func(a *kafka.Access) { a.CA = "" }, []string{"speaks TLS", "--kafka-tls-ca"}},
		"no user":           {func(a *kafka.Access) { a.User, a.Password = "", "" }, []string{"wants a user", "--kafka-sasl-user"}},
		"wrong password":    {func(a *kafka.Access) { a.Password = "wrong-one" }, []string{"password is wrong", "--kafka-sasl-password-file"}},
		"a user of no clue": {func(a *kafka.Access) { a.User = "nobody" }, []string{"does not know the user"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := right
			c.with(&a)
			refused(t, a, c.words...)
		})
	}
}

func TestPlainClusterSaysThatItSpeaksNoTLS(t *testing.T) {
	t.Parallel()
	real := realkit.Kafka(t, realkafka.Options{Security: realkafka.SCRAM})
	stranger, err := realkafka.NewAuthority()
	require.NoError(t, err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, stranger.PEM(), 0o600))
	a := kafka.Access{Seeds: real.Addrs(), CA: ca, User: realkafka.Admin, Password: realkafka.AdminPassword}
	refused(t, a, "does not speak TLS", "--kafka-tls-ca")
	a.CA = ""
	require.NoError(t, ping(t, a))

	require.NoError(t, real.AddUser(t.Context(), "app", "app-secret"))
	a.User, a.Password = "app", "app-secret"
	require.Eventually(t, func() bool { return ping(t, a) == nil }, 10*time.Second, 100*time.Millisecond)
	opts, err := a.Options("test")
	require.NoError(t, err)
	cl, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).DescribeGroups(t.Context(), "conveyance.fetch")
	denied := kafka.Lacks(err, "READ", "group", "conveyance.fetch")
	require.ErrorIs(t, denied, kerr.GroupAuthorizationFailed)
	require.ErrorContains(t, denied, "lacks READ on group conveyance.fetch")
}

func TestHalfOfASettingIsSaidBeforeAnythingIsDialled(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for words, a := range map[string]kafka.Access{
		"has no password":          {User: "app"},
		"no --kafka-sasl-user":     {Password: "secret"},
		"no certificate in PEM":    {CA: empty},
		"reading --kafka-tls-ca":   {CA: "/nowhere"},
		"go together":              {Cert: "client.pem"},
		"reading --kafka-tls-cert": {Cert: "/nowhere", Key: "/nowhere"},
	} {
		_, err := a.Options("test")
		require.ErrorContains(t, err, words)
		require.NotContains(t, err.Error(), "secret")
	}
}
