package register

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
	"conveyance/consumers"
	"conveyance/consumers/followupboss"
	"conveyance/consumers/warehouse"
)

// TestEveryDestinationIsWhole walks the register, and the folders beside it.
func TestEveryDestinationIsWhole(t *testing.T) {
	t.Parallel()
	destinations, err := Destinations("skyslope")
	require.NoError(t, err)
	var names []string
	for _, d := range destinations {
		names = append(names, d.Name)
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("..", d.Name)
			require.True(t, holds(t, dir, `(?m)^// Package `+d.Name+` `), "its package has no comment")
			require.True(t, holds(t, dir, `consumerstest\.(Adapter|Projection)Suite\{`), "its test does not call the suite")
			golden, err := filepath.Glob(filepath.Join(dir, "testdata", "*.golden.json"))
			require.NoError(t, err)
			require.NotEmpty(t, golden, "it has no testdata")
			files, err := fs.Glob(d.Migrations, "*.sql")
			require.NoError(t, err)
			require.NotEmpty(t, files, "it has no migrations")
			require.Regexp(t, `^[a-z][a-z0-9_]*$`, d.Name, "a name is a Postgres schema, too")
			known := topic.Table(1, "skyslope")
			for _, name := range d.Topics {
				require.True(t, slices.ContainsFunc(known, func(t topic.Topic) bool { return t.Name == name }), name)
			}
			if d.Adapter != nil {
				require.NotEmpty(t, d.Vendor)
				require.NotNil(t, d.Checker, "nobody checks its settings at the vendor")
				compiles(t, d.SettingsSchema)
				compiles(t, d.AccountSchema)
			}
		})
	}
	folders, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, f := range folders {
		if f.IsDir() && f.Name() != "register" && f.Name() != "consumerstest" {
			require.True(t, slices.Contains(names, f.Name()), "folder %s is no line of the register", f.Name())
		}
	}
}

func compiles(t *testing.T, schema []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schema)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	_, err = c.Compile("schema.json")
	require.NoError(t, err)
}

func holds(t *testing.T, dir, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	return slices.ContainsFunc(files, func(f string) bool {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		return regexp.MustCompile(pattern).Match(text)
	})
}

func TestAWrongLineIsAnErrorAtStart(t *testing.T) {
	t.Parallel()
	one := reads(warehouse.Destination(), "deals.v1")
	_, err := build(one, one)
	require.ErrorContains(t, err, "two destinations of the register are named warehouse")
	_, err = build(consumers.Destination{Name: "x"})
	require.ErrorContains(t, err, "lacks its name, topics or migrations")
	both := reads(followupboss.Destination(), "deals.v1")
	both.Projection = one.Projection
	_, err = build(both)
	require.ErrorContains(t, err, "neither an adapter nor a projection, or both")
}
