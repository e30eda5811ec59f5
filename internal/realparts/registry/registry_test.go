package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack/registry/registrytest"
	"conveyance/internal/testkit/realkit"
)

// The embedded registry answers the same suite in internal/devstack/registry, without a difference.
func TestRealRegistryAnswersAsTheEmbeddedOneButForWhatIsListed(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, realkit.Registry(t).URL, registrytest.Apicurio()...)
}

func TestSchemasOutliveAKill(t *testing.T) {
	t.Parallel()
	r := realkit.Registry(t)
	call := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, http.StatusOK, call(http.MethodPost, "/subjects/a/versions", `{"schema":"\"string\""}`))
	require.NoError(t, r.Kill())
	require.NoError(t, r.Start(t.Context()))
	require.Equal(t, http.StatusOK, call(http.MethodGet, "/subjects/a/versions/1", ""))
	require.NoError(t, r.Stop())
}
