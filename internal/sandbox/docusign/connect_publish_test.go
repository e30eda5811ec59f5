package docusign

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWebhooksGoInPlainHTTPOnlyToNeighbours(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]bool{
		"https://hooks.example.com/in": true, "http://127.0.0.1:8080/in": true, "http://[::1]:8080/in": true,
		"http://localhost:8080/in": true, "http://ingest:8080/in": true,
		"http://hooks.example.com/in": false, "http://10.0.0.1/in": false, "http://[fd00::1]/in": false, "ftp://ingest/in": false, "": false,
	} {
		require.Equal(t, want, publishable(map[string]any{"urlToPublishTo": to}) == nil, to)
	}
}
