package outages

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/devstack"
	"conveyance/internal/devstack/child"
	"conveyance/internal/realparts"
	"conveyance/internal/realparts/proxy"
	"conveyance/internal/testkit"
)

// cable is one way from the processes to the world.
type cable struct {
	*proxy.Proxy

	name  string
	users []string // the stages that use it
}

// startCabled starts a bus every process of which reaches Kafka, registry, Postgres and the simulated
// vendors through a cable each.
func startCabled(t *testing.T) (*chaos.Bus, []cable) {
	t.Helper()
	exe, dir := build(t), filepath.Join(t.TempDir(), "bus")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	ports, err := realparts.FreePorts(t.Context(), 7)
	require.NoError(t, err)
	at := func(i int) string { return realparts.Loopback(ports[i]) }
	lay := func(name, target string, users ...string) cable {
		p, err := proxy.Start(t.Context(), target)
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return cable{p, name, users}
	}
	server, err := url.Parse(testkit.Database(t))
	require.NoError(t, err)
	kafka := lay("Kafka", at(0), chaos.Stages()...)
	registry := lay("registry", at(1), "fetch", "translate", "adapter followupboss", "adapter warehouse", "adapter timeline")
	postgres := lay("Postgres", server.Host, chaos.Stages()...)
	vendors := lay("vendors", at(3), "fetch", "adapter followupboss")
	server.Host = postgres.Addr

	keep(t, exe, dir, "broker", "--data", filepath.Join(dir, "kafka"), "--listen", at(0), "--advertise", kafka.Addr)
	keep(t, exe, dir, "registry", "--file", filepath.Join(dir, "registry.json"), "--listen", at(1))
	// up keeps the ports and tenants that it finds.
	text, err := json.Marshal(map[string]int{
		"Kafka": ports[4], "Registry": ports[5], "HTTP": ports[2], "Sandbox": ports[3], "Postgres": ports[6],
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ports.json"), text, 0o600))
	_, err = devstack.WriteBrokerages(dir, "http://"+vendors.Addr)
	require.NoError(t, err)
	b := start(t, chaos.Config{
		Exe: exe, Dir: dir, Kafka: kafka.Addr, Registry: "http://" + registry.Addr, Postgres: server.String(),
	})
	return b, []cable{kafka, registry, postgres, vendors}
}

// keep runs one of up's own servers beside it.
func keep(t *testing.T, exe, dir, name string, args ...string) {
	t.Helper()
	p, err := child.Start(child.Spec{
		Path: exe, Args: append([]string{name}, args...), Log: filepath.Join(dir, name+".log"), Death: syscall.SIGKILL,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(syscall.SIGTERM, 10*time.Second) })
}

// cut is a fault as it was drawn.
type cut struct {
	cable cable
	stage string // empty = every process
	proxy.Cut
	long time.Duration
}

func (c cut) String() string {
	who := c.stage
	if who == "" {
		who = "every process"
	}
	kind := c.Kind.String()
	if c.Kind != proxy.Reset {
		kind += " " + c.Way.String()
	}
	return fmt.Sprintf("%s from %s for %d ms: %s", who, c.cable.name, c.long.Milliseconds(), kind)
}
