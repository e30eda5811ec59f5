package wire

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"
	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"conveyance/avro/schema"
)

func TestBreaksNameFieldAndRule(t *testing.T) {
	t.Parallel()
	record := func(fields string) string {
		return `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}` + fields + `]}`
	}
	enum := func(symbols, def string) string {
		return record(`,{"name":"e","type":{"type":"enum","name":"E","symbols":[` + symbols + `]` + def + `}}`)
	}
	for _, c := range []struct{ name, reader, writer, want string }{
		{"same", record(""), record(""), ""},
		{"new field with default", record(`,{"name":"b","type":["null","string"],"default":null}`), record(""), ""},
		{"field unknown to the reader", record(""), record(`,{"name":"b","type":"long"}`), ""},
		{
			"new field without default", record(`,{"name":"b","type":"long"}`), record(""),
			"b: is asked for by the reader without a default, and was not written",
		},
		{
			"type changed", record(`,{"name":"b","type":"long"}`), record(`,{"name":"b","type":"string"}`),
			"b: is long to the reader and string in what was written",
		},
		{
			"promotion is no change of ours", record(`,{"name":"b","type":"long"}`), record(`,{"name":"b","type":"int"}`),
			"b: is long to the reader and int in what was written",
		},
		{
			"nullable later", record(`,{"name":"b","type":["null","long"]}`), record(`,{"name":"b","type":"long"}`),
			"b: is union to the reader and long in what was written",
		},
		{
			"logical type changed", record(`,{"name":"b","type":{"type":"long","logicalType":"timestamp-millis"}}`),
			record(`,{"name":"b","type":"long"}`),
			`b: has logical type "timestamp-millis" to the reader and "" in what was written`,
		},
		{
			"items changed", record(`,{"name":"b","type":{"type":"array","items":"long"}}`),
			record(`,{"name":"b","type":{"type":"array","items":"string"}}`),
			"b[]: is long to the reader and string in what was written",
		},
		{"symbol with default", enum(`"A"`, `,"default":"A"`), enum(`"A","B"`, ``), ""},
		{
			"symbol without default", enum(`"A"`, ``), enum(`"A","B"`, ``),
			"e: symbol B is unknown to the reader, whose enum has no default",
		},
		{
			"renamed record", strings.Replace(record(""), `"R"`, `"S"`, 1), record(""),
			": is record S to the reader and R in what was written",
		},
		{
			"deep", record(`,{"name":"b","type":["null",{"type":"record","name":"N","fields":[{"name":"c","type":"long"}]}]}`),
			record(`,{"name":"b","type":["null",{"type":"record","name":"N","fields":[]}]}`),
			"b.c: is asked for by the reader without a default, and was not written",
		},
		{"recursive", record(`,{"name":"b","type":["null","R"]}`), record(`,{"name":"b","type":["null","R"]}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			breaks, err := Breaks(c.reader, c.writer)
			require.NoError(t, err)
			var got []string
			for _, b := range breaks {
				got = append(got, b.Field+": "+b.Rule)
			}
			require.Equal(t, c.want, strings.Join(got, "\n"))
		})
	}
	_, err := Breaks(`{`, record(""))
	require.ErrorContains(t, err, "parsing the reader's schema")
}

// What the oracle refuses must be found; what is found to be fine hamba must resolve.
func TestBreaksMissNothingThatTheOracleRefuses(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(29, 3))
	refused, fine := 0, 0
	for range 40 / slowness {
		for name, text := range schema.All() {
			other := edit(t, r, text)
			theirs := twmb.CheckCompatibility(twmb.MustParse(other), twmb.MustParse(text))
			breaks, err := Breaks(text, other)
			require.NoError(t, err)
			if theirs != nil {
				refused++
				require.NotEmpty(t, breaks, "%s: %v", name, theirs)
				continue
			}
			if len(breaks) > 0 {
				continue // stricter than Avro
			}
			fine++
			reader, err := parse(text)
			require.NoError(t, err)
			writer, err := parse(other)
			require.NoError(t, err)
			_, err = avro.NewSchemaCompatibility().Resolve(reader, writer)
			require.NoError(t, err)
		}
	}
	require.Greater(t, refused, 5)
	require.Greater(t, fine, 5)
}

// edit makes one random change somewhere in a schema.
func edit(t *testing.T, r *rand.Rand, text string) string {
	t.Helper()
	var root map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &root))
	var records, enums []map[string]any
	collect(root, &records, &enums)
	record := records[r.IntN(len(records))]
	fields := record["fields"].([]any)
	i := r.IntN(len(fields))
	field := fields[i].(map[string]any)
	added := map[string]any{"name": fmt.Sprintf("new_%d", r.IntN(9)), "type": "string"}
	switch r.IntN(7) {
	case 0:
		if _, simple := field["type"].(string); simple { // others may hold a definition that is used later
			record["fields"] = append(fields[:i:i], fields[i+1:]...)
		}
	case 1:
		record["fields"] = append(fields, added)
	case 2:
		added["default"] = ""
		record["fields"] = append([]any{added}, fields...)
	case 3:
		if _, simple := field["type"].(string); simple {
			field["type"] = []string{"int", "long", "string", "bytes", "boolean"}[r.IntN(5)]
		}
	case 4:
		field["name"] = "renamed"
	case 5:
		_, simple := field["type"].(string)
		if last := fields[len(fields)-1].(map[string]any); simple && field["type"] == last["type"] {
			fields[i], fields[len(fields)-1] = last, field
		}
	case 6:
		if len(enums) > 0 {
			enum := enums[r.IntN(len(enums))]
			symbols := enum["symbols"].([]any)
			enum["symbols"] = append([]any{"NEW"}, symbols...)
		}
	}
	out, err := json.Marshal(root)
	require.NoError(t, err)
	return string(out)
}

func collect(v any, records, enums *[]map[string]any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			collect(x, records, enums)
		}
	case map[string]any:
		switch v["type"] {
		case "record":
			*records = append(*records, v)
		case "enum":
			*enums = append(*enums, v)
		}
		for _, x := range v {
			collect(x, records, enums)
		}
	}
}
