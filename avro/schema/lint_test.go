package schema

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryRegisteredSchemaPassesTheLint(t *testing.T) {
	t.Parallel()
	all := All()
	require.Len(t, all, 10)
	for name, text := range all {
		require.Empty(t, Lint(text), name)
		require.Contains(t, text, `"name": "`+name+`"`)
	}
}

func TestLintNamesFieldAndRule(t *testing.T) {
	t.Parallel()
	record := func(fields string) string {
		return `{"type":"record","name":"R","namespace":"conveyance.event","doc":"d","fields":[` + fields + `]}`
	}
	field := func(typ, more string) string {
		return record(`{"name":"v","type":` + typ + `,"doc":"d"` + more + `}`)
	}
	const enum = `{"type":"enum","name":"E","symbols":["A"],"default":"A","doc":"d"}`
	const part = `{"type":"record","name":"P","doc":"d","fields":[{"name":"a","type":"long","doc":"d"}]}`
	for _, c := range []struct{ name, text, want string }{
		{"sound", field(`"string"`, ``), ""},
		{"sound nullable", field(`["null",`+part+`]`, `,"default":null`), ""},
		{"sound array", field(`{"type":"array","items":`+part+`}`, ``), ""},
		{"sound enum", field(enum, `,"default":"A"`), ""},
		{"sound date", field(`["null",{"type":"int","logicalType":"date"}]`, `,"default":null`), ""},
		{"sound pii", field(`{"type":"array","items":"string"}`, `,"pii":"email"`), ""},

		{"no JSON", `{`, "is not a schema: unexpected EOF"},
		{"text after it", field(`"string"`, ``) + "x", "is not a schema"},
		{"no record", `"string"`, "is not a record of namespace conveyance.event"},
		{
			"namespace", strings.Replace(field(`"string"`, ``), "conveyance", "other", 1),
			"is not a record of namespace conveyance.event",
		},
		{"misspelt property", field(`"string"`, `,"docs":"d"`), "is not a schema: json: unknown field"},
		{"map", field(`{"type":"map"}`, ``), "v: map is not part of the contract"},
		{"fixed", field(`{"type":"fixed","name":"F"}`, ``), "v: fixed is not part of the contract"},
		{"float", field(`"float"`, ``), "v: float is not part of the contract"},
		{"double", field(`"double"`, ``), "v: double is not part of the contract"},
		{"decimal", field(`{"type":"bytes","logicalType":"decimal"}`, ``), "v: bytes is not part of the contract"},
		{
			"microseconds", field(`{"type":"long","logicalType":"timestamp-micros"}`, ``),
			`v: logical type "timestamp-micros" on long is not part of the contract`,
		},
		{
			"date on long", field(`{"type":"long","logicalType":"date"}`, ``),
			`v: logical type "date" on long is not part of the contract`,
		},
		{"no doc", strings.Replace(field(`"string"`, ``), `,"doc":"d"}`, `}`, 1), "v: has no doc"},
		{"no doc on a record", strings.Replace(field(`"string"`, ``), `"doc":"d",`, ``, 1), "R has no doc"},
		{"no doc on an enum", field(strings.Replace(enum, `,"doc":"d"`, ``, 1), `,"default":"A"`), "v: E has no doc"},
		{"nullable without default", field(`["null","string"]`, ``), "v: is nullable and has no default null"},
		{"null last", field(`["string","null"]`, `,"default":""`), `v: a union is ["null", T] and nothing else`},
		{"wide union", field(`["null","string","long"]`, `,"default":null`), `v: a union is ["null", T]`},
		{
			"nullable array", field(`["null",{"type":"array","items":"string"}]`, `,"default":null`),
			"v: a nullable array has no use that an empty one has not",
		},
		{"nullable bytes", field(`["null","bytes"]`, `,"default":null`), "v: a nullable bytes has no use"},
		{
			"enum without default", field(strings.Replace(enum, `,"default":"A"`, ``, 1), `,"default":"A"`),
			"v: enum E has no default among its symbols",
		},
		{"enum field without default", field(enum, ``), "v: holds an enum and has no default among its symbols"},
		{"enum field with another's", field(enum, `,"default":"B"`), "v: holds an enum and has no default"},
		{"symbol", field(strings.ReplaceAll(enum, `"A"`, `"a b"`), `,"default":"a b"`), "v: symbol a b is not UPPER_SNAKE"},
		{"array of null", field(`{"type":"array","items":"null"}`, ``), "v: an array of null is not part"},
		{
			"array of nothing", field(`{"type":"array","items":{"type":"record","name":"N","doc":"d","fields":[]}}`, ``),
			"v[]: N has no fields",
		},
		{
			"array of arrays", field(`{"type":"array","items":{"type":"array","items":"long"}}`, ``),
			"v: an array of array is not part",
		},
		{"array of nullables", field(`{"type":"array","items":["null","long"]}`, ``), "v: an array of union is not part"},
		{"array of unknown", field(`{"type":"array"}`, ``), "v: array has no items"},
		{"recursion", field(`["null","R"]`, `,"default":null`), "v: R contains itself"},
		{"undefined", field(`"Elsewhere"`, ``), "v: Elsewhere is not part of the contract, or not defined before"},
		{
			"defined twice", record(`{"name":"a","type":` + part + `,"doc":"d"},{"name":"b","type":` + part + `,"doc":"d"}`),
			"b: P is defined twice",
		},
		{"field name", record(`{"name":"camelCase","type":"long","doc":"d"}`), "camelCase: field name is not snake_case"},
		{"type name", strings.Replace(field(`"long"`, ``), `"R"`, `"lower"`, 1), `type name "lower" is not CamelCase`},
		{"pii kind", field(`"string"`, `,"pii":"shoe"`), `v: pii "shoe" is none of`},
		{"pii on a record", field(part, `,"pii":"name"`), "v: pii name stands on something that is not a string"},
		{"pii on a number", field(`"long"`, `,"pii":"phone"`), "v: pii phone stands on something that is not a string"},
		{"raw pii on text", field(`"string"`, `,"pii":"raw"`), "v: pii raw stands on something that is not a bytes"},
		{"bytes not raw", field(`"bytes"`, `,"pii":"name"`), "v: pii name stands on something that is not a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			problems := Lint(c.text)
			if c.want == "" {
				require.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			require.Contains(t, problems[0].String(), c.want)
		})
	}
}

// No bytes field may be without pii, or a vendor's payload would be shown.
func TestEveryBytesFieldIsRaw(t *testing.T) {
	t.Parallel()
	for name, text := range All() {
		require.Equal(t, strings.Count(text, `"bytes"`), strings.Count(text, `"pii": "raw"`), name)
	}
}
