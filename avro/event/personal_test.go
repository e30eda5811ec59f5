package event

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMaskLeavesNothingThatTellsWhoItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, value, want string }{
		{"name", "Jane Doe", "J***"},
		{"name", "Ærø", "Æ***"},
		{"email", "jane@doe.family", "j***@***"},
		{"phone", "+13125550142", "***42"},
		{"phone", "555-01", "***"},
		{"phone", "call Jané", "***né"},
		{"address", "12 Lake St", "***"},
		{"text", "wrong Jane", "***"},
		{"of another build", "x", "***"},
		{"name", "", ""},
	} {
		require.Equal(t, c.want, Mask(c.kind, c.value))
	}
}

// plant writes a secret of its own into every string and bytes field of a message, and returns the
// secret by path. It uses reflection, so that it and the generated table can be held together.
func plant(v reflect.Value, path string, secrets map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		plant(v.Elem(), path, secrets)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			secrets[path] = fmt.Sprintf("secret-%d-secret", len(secrets))
			v.SetBytes([]byte(secrets[path]))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		plant(v.Index(0), path, secrets)
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Tag.Get("avro"); name != "" {
				plant(v.Field(i), strings.TrimPrefix(path+"."+name, "."), secrets)
			}
		}
	case reflect.String:
		secrets[path] = fmt.Sprintf("secret-%d-secret", len(secrets))
		v.SetString(secrets[path])
	default: // numbers and truth values tell nobody's name
	}
}

func TestMaskedHidesExactlyThePersonalFields(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		m, ok := New(typ)
		require.True(t, ok)
		secrets := map[string]string{}
		plant(reflect.ValueOf(m).Elem(), "", secrets)
		before := fmt.Sprintf("%+v", deref(t, m))

		shown := deref(t, Masked(m))
		personal := map[string]bool{}
		for _, p := range Personal(typ) {
			require.Contains(t, secrets, p.Path, "the table names a field that is there")
			personal[p.Path] = true
		}
		for path, secret := range secrets {
			require.Equal(t, personal[path], !strings.Contains(shown, secret), "%s %s", typ, path)
		}
		require.Equal(t, before, fmt.Sprintf("%+v", deref(t, m)), "the message itself stays")
	}
}

// deref is a message as text, with bytes as text, too.
func deref(t *testing.T, m Message) string {
	t.Helper()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	var all any
	require.NoError(t, json.Unmarshal(text, &all))
	var bodies []string
	switch m := m.(type) {
	case *WebhookReceived:
		bodies = append(bodies, string(m.Body))
	case *VendorSnapshot:
		bodies = append(bodies, string(m.Parts[0].Body))
	}
	return fmt.Sprint(all, bodies)
}

func TestEveryContactDetailIsPersonal(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, p := range Personal(TypeContactChanged) {
		paths = append(paths, p.Path+" "+p.Kind)
	}
	require.Equal(t, []string{
		"origin.correction text", "contact.first_name name", "contact.last_name name", "contact.full_name name",
		"contact.company name", "contact.emails email", "contact.phones phone", "contact.address.street address",
		"contact.address.unit address", "contact.address.city address", "contact.address.postal_code address",
		"contact.address.county address", "agent_email email",
	}, paths)
	require.Nil(t, Personal("of another build"))
}

func TestEveryTypeIsMadeAndNamed(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		m, ok := New(typ)
		require.True(t, ok)
		require.Equal(t, typ, m.Type())
		if e, ok := m.(Event); ok {
			e.Source().Revision = 7
			require.EqualValues(t, 7, reflect.ValueOf(m).Elem().FieldByName("Origin").FieldByName("Revision").Int())
		}
	}
	_, ok := New("OfferMade")
	require.False(t, ok)
}

func TestOnlyHintsAndFactsHaveNoOrigin(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		m, _ := New(typ)
		_, isEvent := m.(Event)
		require.Equal(t, typ != TypeWebhookReceived && typ != TypeVendorSnapshot, isEvent, typ)
	}
}
