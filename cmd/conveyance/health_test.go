package main

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"conveyance/internal/observe"
	"conveyance/internal/tenant"
)

func TestHealthTellsAliveFromReady(t *testing.T) {
	t.Parallel()
	waits := map[string]func() error{"door": func() error { return net.ErrClosed }}
	server := httptest.NewServer(observe.Handler(prometheus.NewRegistry(), waits))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	require.Equal(t, "alive\n", must(t, "health", "--listen", addr))
	code, _, errs := call(t, "health", "--ready", "--listen", addr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, net.ErrClosed.Error())
	server.Close()
	code, _, errs = call(t, "health", "--listen", addr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no answer")
}

func TestHealthAsksItsOwnMachineWhereAProcessListensOnAll(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":9100": "127.0.0.1:9100", "0.0.0.0:9100": "127.0.0.1:9100", "[::]:9100": "127.0.0.1:9100", "10.0.0.7:9100": "10.0.0.7:9100",
	} {
		addr, err := local(listen)
		require.NoError(t, err)
		require.Equal(t, want, addr)
	}
	for _, listen := range []string{"", "9100", ":0", ":"} {
		code, _, _ := call(t, "health", "--listen", listen)
		require.Equal(t, exitUsage, code, listen)
	}
}

func TestStatusFindsWhoListensOnAllAddresses(t *testing.T) {
	t.Parallel()
	require.Equal(t, "127.0.0.1:9100", reachable("127.0.0.1:9100"))
	host, port, err := net.SplitHostPort(reachable("[::]:9100"))
	require.NoError(t, err)
	require.Equal(t, "9100", port)
	require.False(t, net.ParseIP(host).IsUnspecified())
}

func TestDrawnKeySeals(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sealing.key")
	require.NoError(t, os.WriteFile(file, []byte(must(t, "tenant", "key")), 0o600))
	_, err := tenant.ReadSealingKey(file)
	require.NoError(t, err)
}
