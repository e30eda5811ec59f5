package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// copied is the folder of schemas in a temporary place, without what is generated.
func copied(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "registered"), 0o750))
	files, err := filepath.Glob("../*.avsc")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, filepath.Base(file)), text, 0o600))
	}
	return folder
}

func TestGoGenerateLeavesNoDifference(t *testing.T) {
	t.Parallel()
	folder := copied(t)
	goFile := filepath.Join(t.TempDir(), "event.gen.go")
	require.NoError(t, run(folder, goFile))
	same(t, "../../event/event.gen.go", goFile)

	want, err := filepath.Glob("../registered/*")
	require.NoError(t, err)
	got, err := filepath.Glob(filepath.Join(folder, "registered", "*"))
	require.NoError(t, err)
	require.Len(t, got, len(want), "a text whose source is gone, or that was not generated")
	for i := range want {
		require.Equal(t, filepath.Base(want[i]), filepath.Base(got[i]))
		same(t, want[i], got[i])
	}
}

func same(t *testing.T, committed, generated string) {
	t.Helper()
	want, err := os.ReadFile(committed)
	require.NoError(t, err)
	got, err := os.ReadFile(generated)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "%s is not what go generate ./avro/event makes", committed)
}

func TestASourceThatBreaksTheContractStopsTheGenerator(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, text, want string }{
		"misspelt property": {"money.avsc", `{"type":"record","name":"Money","dok":"x"}`, `unknown field "dok"`},
		"wrong file name":   {"money.avsc", `{"type":"record","name":"Cash"}`, "does not define the type"},
		"undefined name": {
			"money.avsc", `{"type":"record","name":"Money","namespace":"conveyance.event","doc":"d",` +
				`"fields":[{"name":"a","type":"Nowhere","doc":"d"}]}`, "Nowhere is not part of the contract",
		},
		"lint": {
			"webhook_received.avsc", `{"type":"record","name":"WebhookReceived","namespace":"conveyance.event","doc":"d",` +
				`"fields":[{"name":"a","type":"double","doc":"d"}]}`, "WebhookReceived: a: double is not part",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := copied(t)
			require.NoError(t, os.WriteFile(filepath.Join(folder, c.file), []byte(c.text), 0o600))
			require.ErrorContains(t, run(folder, filepath.Join(t.TempDir(), "x.go")), c.want)
		})
	}
}
