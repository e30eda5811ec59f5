package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachProcessIsAUserOfItsOwnByOneSetting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter-warehouse"), []byte("its own\n"), 0o600))
	g := &globals{Kafka: "127.0.0.1:1", kafkaFlags: kafkaFlags{
		KafkaUser: "conveyance.{process}", KafkaPasswordFile: filepath.Join(dir, "{process}"),
	}}
	_, err := g.kafka("adapter warehouse")
	require.NoError(t, err)
	_, err = g.kafka("fetch")
	require.ErrorContains(t, err, "reading the password of user conveyance.fetch of Kafka")
	require.NotContains(t, err.Error(), "its own")
}

func TestRightsNameEveryStageAndNobodyMayDelete(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"topics", "acls", "--json", "--dir", t.TempDir()}, &out, &errs), "%s", errs.String())
	processes, groups := map[string]bool{}, 0
	for line := range bytes.Lines(out.Bytes()) {
		var l struct{ Process, Principal, Operation, Resource, Name string }
		require.NoError(t, json.Unmarshal(line, &l))
		processes[l.Process] = true
		require.NotEqual(t, "DELETE", l.Operation)
		require.NotEqual(t, "ALL", l.Operation)
		require.Contains(t, l.Name, "conveyance.")
		if l.Resource == "group" {
			groups++
			require.Equal(t, "READ", l.Operation)
		}
	}
	for _, name := range append(stageNames(), operator) {
		require.True(t, processes[name], name)
	}
	require.Equal(t, len(stageNames())-1, groups, "the door reads nothing")
}

func TestAKafkaPasswordHasNoFlag(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"status", "--kafka-sasl-password", "secret"}, &out, &errs)
	require.Equal(t, exitUsage, code)
}
