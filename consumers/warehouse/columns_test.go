package warehouse

import (
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

func TestEveryColumnHasAType(t *testing.T) {
	t.Parallel()
	for _, row := range []any{
		dealRow{}, participantRow{}, agentRow{}, commissionRow{}, feeRow{}, payeeRow{}, historyRow{}, contactRow{},
	} {
		for _, c := range columnsOf(reflect.TypeOf(row)) {
			require.NotEmpty(t, c.sqlType, "%T.%s", row, c.name)
		}
	}
}

func TestTextArraysComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	pool, _ := testkit.Schema(t)
	for _, want := range [][]string{{}, {""}, {"a", "b"}, {`{"`, `\`, `a,b`, "NULL", " "}, {"é\n"}} {
		var got []string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT $1::text::text[]", literal(want)).Scan(&got))
		require.Equal(t, want, got)
	}
}

func FuzzTextIsWhatPostgresCanStore(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "a\x00b", "\xff", "\xed\xa0\x80", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s)
		require.NotContains(t, got, "\x00")
		require.True(t, utf8.ValidString(got))
	})
}
