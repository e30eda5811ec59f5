package archtest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func TestEveryTaskSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	var file struct {
		Tasks map[string]struct {
			Desc string `json:"desc"`
			Cmds []any  `json:"cmds"`
		} `json:"tasks"`
	}
	require.NoError(t, yaml.Unmarshal(read(t, "Taskfile.yml"), &file))
	require.NotEmpty(t, file.Tasks)
	for name, task := range file.Tasks {
		require.NotEmpty(t, task.Desc, name)
		require.NotEmpty(t, task.Cmds, name)
	}
}
