package broker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/devstack/broker"
	"conveyance/internal/devstack/dirlock"
	"conveyance/internal/realparts/proxy"
	"conveyance/internal/testkit"
)

func start(t testing.TB, opts broker.Options) *broker.Broker {
	t.Helper()
	opts.Log = testkit.Log(t)
	b, err := broker.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Stop() })
	return b
}

func client(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.MetadataMinAge(testkit.Look))...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func create(t testing.TB, addr, topic string, configs map[string]*string) {
	t.Helper()
	_, err := kadm.NewClient(client(t, addr)).CreateTopic(t.Context(), 1, 1, configs, topic)
	require.NoError(t, err)
}

// offsets are the start and the end of partition 0.
func offsets(t testing.TB, addr, topic string) [2]int64 {
	t.Helper()
	adm := kadm.NewClient(client(t, addr))
	starts, err := adm.ListStartOffsets(t.Context(), topic)
	require.NoError(t, err)
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	first, _ := starts.Lookup(topic, 0)
	end, _ := ends.Lookup(topic, 0)
	return [2]int64{first.Offset, end.Offset}
}

func produce(t testing.TB, addr, topic string, age time.Duration, n int) {
	t.Helper()
	cl := client(t, addr)
	for i := range n {
		r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(strconv.Itoa(i)), Timestamp: time.Now().Add(-age)}
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
	}
}

func TestRestartKeepsTopicsRecordsAndCommittedOffsets(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kafka")
	b := start(t, broker.Options{Dir: dir, SyncWrites: true})
	create(t, b.Addr(), "deals", nil)
	produce(t, b.Addr(), "deals", 0, 5)
	offs := kadm.Offsets{}
	offs.AddOffset("deals", 0, 3, -1)
	require.NoError(t, kadm.NewClient(client(t, b.Addr())).CommitAllOffsets(t.Context(), "g", offs))
	require.NoError(t, b.Stop())
	require.NoError(t, b.Stop(), "twice is once")

	b = start(t, broker.Options{Dir: dir})
	require.Equal(t, [2]int64{0, 5}, offsets(t, b.Addr(), "deals"))
	committed, err := kadm.NewClient(client(t, b.Addr())).FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	o, ok := committed.Lookup("deals", 0)
	require.True(t, ok)
	require.EqualValues(t, 3, o.At)
}

func TestFolderInUseNamesTheHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, broker.Options{Dir: dir})
	_, err := broker.Start(t.Context(), broker.Options{Dir: dir, Log: testkit.Log(t)})
	inUse, ok := errors.AsType[*dirlock.InUseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, dir, inUse.Dir)
	require.ErrorContains(t, err, fmt.Sprintf("is in use by another up (pid %d): stop it or use --dir", os.Getpid()))
}

func TestPortInUseIsOneSentenceAndFreesTheFolder(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	port, dir := l.Addr().(*net.TCPAddr).Port, t.TempDir()
	_, err = broker.Start(t.Context(), broker.Options{Dir: dir, Port: port, Log: testkit.Log(t)})
	require.ErrorContains(t, err, fmt.Sprintf("port %d is in use by another program: stop it, or use --ports auto", port))
	require.NotContains(t, err.Error(), "\n")
	start(t, broker.Options{Dir: dir})
}

func TestFolderThatCannotBeMadeIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := broker.Start(t.Context(), broker.Options{Dir: filepath.Join(file, "kafka"), Log: testkit.Log(t)})
	require.ErrorContains(t, err, file)
}

func TestExpiredRecordsGoAndTheEndStaysOverRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, broker.Options{Dir: dir, RetainEvery: testkit.Look})
	create(t, b.Addr(), "webhooks", map[string]*string{"retention.ms": kadm.StringPtr("86400000")})
	produce(t, b.Addr(), "webhooks", 48*time.Hour, 10)
	require.Eventually(t, func() bool { return offsets(t, b.Addr(), "webhooks")[0] == 9 }, testkit.Patience, testkit.Look)
	require.NoError(t, b.Stop())
	b = start(t, broker.Options{Dir: dir})
	require.Equal(t, [2]int64{9, 10}, offsets(t, b.Addr(), "webhooks"), "an emptied partition would count from 0 again")
	produce(t, b.Addr(), "webhooks", 0, 1)
	require.Equal(t, [2]int64{9, 11}, offsets(t, b.Addr(), "webhooks"))
}

func TestWhatHasNoRetentionIsKeptWhateverItsAge(t *testing.T) {
	t.Parallel()
	b := start(t, broker.Options{Dir: t.TempDir(), RetainEvery: testkit.Look})
	create(t, b.Addr(), "plain", nil)
	create(t, b.Addr(), "forever", map[string]*string{"retention.ms": kadm.StringPtr("-1")})
	create(t, b.Addr(), "links", map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "retention.ms": kadm.StringPtr("-1")})
	create(t, b.Addr(), "canary", map[string]*string{"retention.ms": kadm.StringPtr("60000")})
	for _, topic := range []string{"plain", "forever", "links", "canary"} {
		produce(t, b.Addr(), topic, 500*24*time.Hour, 3)
	}
	require.Eventually(t, func() bool { return offsets(t, b.Addr(), "canary")[0] == 2 }, testkit.Patience, testkit.Look)
	for _, topic := range []string{"plain", "forever", "links"} {
		require.Equal(t, [2]int64{0, 3}, offsets(t, b.Addr(), topic), topic)
	}
}

func TestFullDiskIsSaidOnceAndLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("SKIPPED: a full disk needs a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
	ballast := filepath.Join(mount, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))
	troubles := make(chan error, 16)
	dir := filepath.Join(mount, "kafka")
	b := start(t, broker.Options{Dir: dir, Trouble: func(err error) { troubles <- err }})
	create(t, b.Addr(), "deals", nil)

	cl := client(t, b.Addr(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	acked := map[string]bool{}
	send := func(i int) error {
		key := strconv.Itoa(i)
		err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "deals", Key: []byte(key), Value: []byte(strings.Repeat("x", 64<<10))}).FirstErr()
		if err == nil {
			acked[key] = true
		}
		return err
	}
	i := 0
	for ; send(i) == nil; i++ {
		require.Less(t, i, 64, "the disk holds 2 MiB")
	}
	for range 3 { // the producer goes on trying
		i++
		require.Error(t, send(i))
	}
	require.ErrorContains(t, <-troubles, "the disk of "+dir+" is full: free some space")
	require.Empty(t, troubles, "once, not for each record")

	_, err := broker.Start(t.Context(), broker.Options{Dir: filepath.Join(mount, "other"), Log: testkit.Log(t)})
	require.ErrorContains(t, err, "is full: free some space", "a start on a full disk says so too")

	require.NoError(t, os.Remove(ballast))
	i++
	require.NoError(t, send(i), "it goes on by itself once there is space")
	require.NoError(t, b.Stop())
	b = start(t, broker.Options{Dir: dir})
	found := keys(t, b.Addr(), "deals")
	for key := range acked {
		require.True(t, found[key], key)
	}
}

// keys reads what partition 0 holds.
func keys(t testing.TB, addr, topic string) map[string]bool {
	t.Helper()
	end := offsets(t, addr, topic)[1]
	cl := client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	found := map[string]bool{}
	for at := int64(0); at < end; {
		fetches := cl.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			found[string(r.Key)] = true
			at = r.Offset + 1
		})
	}
	return found
}

func TestClientsAreToldTheAdvertisedAddress(t *testing.T) {
	t.Parallel()
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := free.Addr().(*net.TCPAddr)
	require.NoError(t, free.Close())
	cable, err := proxy.Start(t.Context(), at.String())
	require.NoError(t, err)
	t.Cleanup(cable.Close)
	b := start(t, broker.Options{Dir: t.TempDir(), Port: at.Port, Advertise: cable.Addr})
	require.Equal(t, cable.Addr, b.Addr())
	m, err := kadm.NewClient(client(t, b.Addr())).BrokerMetadata(t.Context())
	require.NoError(t, err)
	require.Len(t, m.Brokers, 1)
	require.Equal(t, cable.Addr, fmt.Sprintf("%s:%d", m.Brokers[0].Host, m.Brokers[0].Port))
}
