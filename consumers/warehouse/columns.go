package warehouse

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// Rows travel to Postgres as one array per column, which it unpacks several times faster than one
// document per row. A row's struct names its columns in db tags, with the type where the field's
// own does not tell it.

// column is one column of a table and the path of its field in the row's struct.
type column struct {
	name, sqlType string
	field         []int
	goType        reflect.Type
}

// sqlTypes of fields without a type in their tag.
var sqlTypes = map[reflect.Type]string{
	reflect.TypeFor[string](): "text", reflect.TypeFor[*string](): "text",
	reflect.TypeFor[bool]():  "boolean",
	reflect.TypeFor[int32](): "int", reflect.TypeFor[*int32](): "int",
	reflect.TypeFor[int64](): "bigint", reflect.TypeFor[*int64](): "bigint",
	reflect.TypeFor[time.Time](): "timestamptz", reflect.TypeFor[*time.Time](): "timestamptz",
}

// columnsOf reads the tags of a row's struct, embedded ones in their place.
func columnsOf(row reflect.Type) []column {
	var out []column
	for _, f := range reflect.VisibleFields(row) {
		tag := f.Tag.Get("db")
		if tag == "" {
			continue
		}
		name, sqlType, told := strings.Cut(tag, ",")
		if !told {
			sqlType = sqlTypes[f.Type]
		}
		out = append(out, column{name, sqlType, f.Index, f.Type})
	}
	return out
}

// arrays turns a slice of rows of one struct into one argument per column.
func arrays(columns []column, rows any) []any {
	in := reflect.ValueOf(rows)
	out := make([]any, len(columns))
	for i, c := range columns {
		values := reflect.MakeSlice(reflect.SliceOf(c.goType), in.Len(), in.Len())
		for j := range in.Len() {
			row := in.Index(j)
			if row.Kind() == reflect.Interface {
				row = row.Elem()
			}
			values.Index(j).Set(row.FieldByIndex(c.field))
		}
		out[i] = clean(values.Interface())
	}
	return out
}

// clean drops what Postgres has no text for: NUL and broken UTF-8. Vendors send both.
func clean(values any) any {
	switch values := values.(type) {
	case []string:
		for i, s := range values {
			values[i] = text(s)
		}
	case []*string:
		for i, s := range values {
			if s != nil {
				t := text(*s) // the event keeps its own
				values[i] = &t
			}
		}
	}
	return values
}

func text(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// statement fills a table's name and columns into one of queries.go.
func statement(sql, table string, columns []column) string {
	var names, params, selected, sets []string
	for i, c := range columns {
		names = append(names, c.name)
		sets = append(sets, c.name+" = EXCLUDED."+c.name)
		if element, isArray := strings.CutSuffix(c.sqlType, "[]"); isArray {
			params = append(params, fmt.Sprintf("$%d::text[]", i+1)) // arrays do not nest: each is its text
			selected = append(selected, "x."+c.name+"::"+element+"[]")
			continue
		}
		params = append(params, fmt.Sprintf("$%d::%s[]", i+1, c.sqlType))
		selected = append(selected, "x."+c.name)
	}
	return strings.NewReplacer(
		"{table}", table, "{columns}", strings.Join(names, ", "), "{arrays}", strings.Join(params, ", "),
		"{selected}", strings.Join(selected, ", "), "{sets}", strings.Join(sets, ", "),
	).Replace(sql)
}

// literal is a text array as Postgres writes it.
func literal[S ~string](in []S) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range in {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(escapes.Replace(string(s)))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
