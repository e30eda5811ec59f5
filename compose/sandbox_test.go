package compose

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

// The sandbox needs nobody, so that its service runs here as it is written, but for its places.
func TestSandboxAnswersItsOwnHealthCheck(t *testing.T) {
	t.Parallel()
	s := project(t).Services["sandbox"]
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := free.Addr().String()
	require.NoError(t, free.Close())
	dir := t.TempDir()
	here := func(args []string) (mine []string) {
		for _, a := range args {
			if a == ":8090" {
				a = at
			}
			mine = append(mine, strings.Replace(a, "/demo", dir, 1))
		}
		return mine
	}
	cmd := exec.Command(binary(t), here(s.Command)...)
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, <-ended)
	})
	require.Equal(t, []string{"CMD", "/conveyance", "health"}, []string(s.HealthCheck.Test[:3]))
	require.True(t, slices.Contains(s.HealthCheck.Test, ":8090"))
	require.Eventually(t, func() bool {
		code, _, _ := run(t, here(s.HealthCheck.Test[2:]), nil)
		return code == 0
	}, testkit.Patience, testkit.Look)
	require.Contains(t, read(t, dir+"/tenants/lakeshore.yaml"), "http://sandbox:8090/docusign")
}
