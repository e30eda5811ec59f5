package compose

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imageBytesMax is what the image may weigh: 40 MiB.
const imageBytesMax = 40 << 20

// otherBytes is what the image holds beside the binary: certificates (0.22 MB) and time zones, with
// room to grow.
const otherBytes = 700 << 10

func TestBinaryIsStaticAndTheImageStaysSmall(t *testing.T) {
	t.Parallel()
	file := binary(t)
	stat, err := os.Stat(file)
	require.NoError(t, err)
	t.Logf("the binary weighs %.1f MiB", float64(stat.Size())/(1<<20))
	require.LessOrEqual(t, stat.Size()+otherBytes, int64(imageBytesMax))
	zones, err := os.Stat(filepath.Join(runtime.GOROOT(), "lib/time/zoneinfo.zip")) //nolint:staticcheck // the toolchain that runs this test built it
	if err == nil {
		require.Less(t, zones.Size(), int64(otherBytes-230<<10))
	}
	exe, err := elf.Open(file)
	require.NoError(t, err)
	defer func() { _ = exe.Close() }()
	for _, p := range exe.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "it wants a loader, and the image has none")
	}
	libraries, err := exe.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libraries)
}

func TestImageHasNoRootNoShellAndChecksItself(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	_, last, ok := strings.Cut(text, "\nFROM scratch\n")
	require.True(t, ok)
	require.NotContains(t, last, "\nFROM ")
	require.NotContains(t, last, "\nRUN ")
	require.NotContains(t, last, "\nADD ")
	require.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, last)
	require.Contains(t, last, "/etc/ssl/certs/ca-certificates.crt")
	require.Contains(t, last, "ENV ZONEINFO=/zoneinfo.zip")
	require.Contains(t, last, `ENTRYPOINT ["/conveyance"]`)
	require.Contains(t, last, `CMD ["/conveyance", "health"]`)
}

func TestEveryImageIsPinnedOnceAndUsed(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:(v?\d+\.\d+(\.\d+)?[a-z0-9.-]*)(@sha256:[0-9a-f]{64})?$`)
	used := read(t, "compose.yaml") + read(t, "secrets.sh")
	for name, image := range images(t) {
		require.Contains(t, used, "${"+name, "nothing uses %s", name)
		if name != "CONVEYANCE_IMAGE" { // built here
			require.Regexp(t, pinned, image, name)
		}
	}
	for line := range strings.Lines(read(t, "compose.yaml") + read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if image, ok := strings.CutPrefix(line, "image: "); ok {
			require.True(t, strings.HasPrefix(image, "${"), "%s belongs into images.env", image)
		}
		if image, ok := strings.CutPrefix(line, "FROM "); ok && image != "scratch" {
			require.True(t, strings.HasPrefix(image, "${"), "%s belongs into images.env", image)
		}
	}
	toolchain := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	require.Len(t, toolchain, 2)
	require.Contains(t, images(t)["GO_IMAGE"], ":"+toolchain[1]+".", "go.mod asks for another Go")
}
