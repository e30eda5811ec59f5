package translate

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

// TestEveryFieldIsCompared sets each leaf of each struct in turn, and expects the field that holds it
// to be told: a field that is added to the contract fails here until it is compared.
func TestEveryFieldIsCompared(t *testing.T) {
	t.Parallel()
	holds(t, dealFields(), "deal_key")
	holds(t, contactFields(), "contact_key")
}

func holds[T any](t *testing.T, fields []field[T], identity string) {
	t.Helper()
	var names []string
	for i := range fields {
		names = append(names, fields[i].name)
	}
	require.True(t, slices.IsSorted(names))
	typ := reflect.TypeFor[T]()
	for i := range typ.NumField() {
		name := typ.Field(i).Tag.Get("avro")
		for n := 0; ; n++ {
			var zero, set T
			left := n
			if !touch(reflect.ValueOf(&set).Elem().Field(i), &left) {
				require.Positive(t, n, "%s has no leaf", name)
				break
			}
			// The container of a leaf is there on both sides, so that only the leaf differs.
			none := -1
			touch(reflect.ValueOf(&zero).Elem().Field(i), &none)
			changed := changedFields(fields, &zero, &set)
			if name == identity {
				require.Empty(t, changed)
				continue
			}
			require.Equal(t, []string{name}, changed, "leaf %d of %s", n, name)
		}
	}
}

// touch makes all containers below v and sets the leaf that left counts down to; false where there
// are not as many.
func touch(v reflect.Value, left *int) bool {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if *left == 0 {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return touch(v.Elem(), left)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return touch(v.Index(0), left)
	case v.Kind() == reflect.Struct:
		found := false
		for i := range v.NumField() {
			found = touch(v.Field(i), left) || found
		}
		return found
	case *left != 0:
	case v.Kind() == reflect.String:
		v.SetString("set")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	default:
		v.SetInt(7)
	}
	*left--
	return *left == -1
}

func TestNilIsLikeNilAlone(t *testing.T) {
	t.Parallel()
	money, at := event.Money{Minor: 1}, time.Unix(0, 0)
	require.True(t, same[event.Money](nil, nil))
	require.False(t, same(&money, nil))
	require.False(t, sameTime(nil, &at))
	require.False(t, sameCommission(nil, &event.Commission{}))
}
