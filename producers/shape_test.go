package producers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/internal/vendorjson"
)

// TestTheFastCheckAgreesWithTheValidator holds every vendor's schemas to it, on records that are
// broken at random.
func TestTheFastCheckAgreesWithTheValidator(t *testing.T) {
	t.Parallel()
	schemas, err := filepath.Glob("*/schema/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, schemas)
	for _, path := range schemas {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		c, err := NewContract(text)
		require.NoError(t, err, path)
		records, err := filepath.Glob(filepath.Join(filepath.Dir(path), "..", "testdata", "*", filepath.Base(path)))
		require.NoError(t, err)
		if len(records) == 0 {
			continue // the schema of an account
		}
		rapid.Check(t, func(rt *rapid.T) {
			body, err := os.ReadFile(rapid.SampledFrom(records).Draw(rt, "record"))
			require.NoError(rt, err)
			parsed, err := vendorjson.Parse(body)
			if err != nil {
				return
			}
			v := parsed.Any()
			for range rapid.IntRange(0, 3).Draw(rt, "breaks") {
				v = mutate(rt, v)
			}
			text, err := json.Marshal(v)
			require.NoError(rt, err)
			mutated, err := vendorjson.Parse(text)
			require.NoError(rt, err)
			var drift []Drift
			require.Equal(rt, c.schema.Validate(mutated.Any()) == nil, c.shape.fits(mutated, "", &drift))
		})
	}
}

// mutate changes one value somewhere in v.
func mutate(t *rapid.T, v any) any {
	values := []any{nil, true, "", "x", "12", "2026-01-01T00:00:00", []any{}, map[string]any{}, []any{map[string]any{"email": 7}}}
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 && rapid.IntRange(0, 9).Draw(t, "deeper") > 0 {
			name := rapid.SampledFrom(sortedKeys(v)).Draw(t, "field")
			if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				delete(v, name)
			} else {
				v[name] = mutate(t, v[name])
			}
			return v
		}
	case []any:
		if len(v) > 0 && rapid.IntRange(0, 9).Draw(t, "deeper") > 0 {
			i := rapid.IntRange(0, len(v)-1).Draw(t, "item")
			v[i] = mutate(t, v[i])
			return v
		}
	}
	return rapid.SampledFrom(values).Draw(t, "value")
}

func TestKeywordsThatTheFastCheckLacksAreLeftToTheValidator(t *testing.T) {
	t.Parallel()
	c, err := NewContract([]byte(`{"type":"object","properties":{"a":{"pattern":"^x"},"n":{"type":"integer"},"self":{"$ref":"#"}}}`))
	require.NoError(t, err)
	for in, good := range map[string]bool{
		`{"a":"xy","n":1}`: true, `{"a":"y"}`: false, `{"n":1.5}`: false, `{"self":{"self":{"a":"x"}}}`: true, `{"self":{"self":{"a":"y"}}}`: false,
	} {
		_, _, err := c.Read([]byte(in))
		require.Equal(t, good, err == nil, in)
	}
}

func sortedKeys(v map[string]any) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
