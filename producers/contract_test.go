package producers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["id", "status"],
  "properties": {
    "id": {"type": "string", "minLength": 1}, "status": {"type": "string"},
    "price": {"type": ["number", "string", "null"], "format": "amount"}, "rebate": {"format": "signed-amount"},
    "share": {"format": "percentage"}, "on": {"type": ["string", "null"], "format": "vendor-date"},
    "people": {"type": "array", "items": {"type": "object", "properties": {"email": {"type": "string"}}}}
  }
}`

func contract(t *testing.T) *producers.Contract {
	t.Helper()
	c, err := producers.NewContract([]byte(schema))
	require.NoError(t, err)
	return c
}

func TestABrokenContractNamesThePathAndNoValue(t *testing.T) {
	t.Parallel()
	c := contract(t)
	for in, want := range map[string]string{
		`{"id":"1","transaction_status":"Pending"}`:                    "/status is missing",
		`{"id":"1","status":7}`:                                        "/status is number, not string",
		`{"id":"","status":"x"}`:                                       "/id breaks minLength",
		`{"id":"1","status":"x","price":-1}`:                           "/price is no amount",
		`{"id":"1","status":"x","price":1e11}`:                         "/price is no amount",
		`{"id":"1","status":"x","price":"secret"}`:                     "/price is no amount",
		`{"id":"1","status":"x","rebate":-1e11}`:                       "/rebate is no signed-amount",
		`{"id":"1","status":"x","share":101}`:                          "/share is no percentage",
		`{"id":"1","status":"x","on":"soon"}`:                          "/on is no vendor-date",
		`{"id":"1","status":"x","people":[{"email":"a"},{"email":1}]}`: "/people/email is number, not string",
		`[]`:           "/ is array, not object",
		`<html>secret`: "/ is no JSON: reading JSON at byte 0: no JSON value",
	} {
		_, _, err := c.Read([]byte(in))
		var broken *producers.ContractError
		require.ErrorAs(t, err, &broken, in)
		require.Equal(t, want, err.Error(), in)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestTheSameRecordAlwaysBreaksAtTheSamePath(t *testing.T) {
	t.Parallel()
	c := contract(t)
	for range 100 {
		_, _, err := c.Read([]byte(`{"price":-1,"share":-1,"on":"x","people":{},"rebate":"x"}`))
		require.EqualError(t, err, "/id is missing")
	}
}

func TestUnknownFieldsAreDriftAtEveryDepthOnceAndInOrder(t *testing.T) {
	t.Parallel()
	r, drift, err := contract(t).Read([]byte("\xef\xbb\xbf{\"zeta\":1,\"id\":\" 1\x01 \",\"alpha\":{\"inner\":1},\"status\":\"x\"," +
		"\"people\":[{\"mail\":1},{\"mail\":2,\"email\":\"a\"}]}"))
	require.NoError(t, err)
	require.Equal(t, []producers.Drift{
		{Path: "/alpha", Kind: producers.DriftUnknownField},
		{Path: "/people/mail", Kind: producers.DriftUnknownField},
		{Path: "/zeta", Kind: producers.DriftUnknownField},
	}, drift)
	require.Equal(t, "1", r.Text("id"))
}

func TestDatesKeepTheirDayAndYearOneIsNone(t *testing.T) {
	t.Parallel()
	day := func(y int, m time.Month, d int) *time.Time {
		at := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		return &at
	}
	for in, want := range map[string]*time.Time{
		"2026-10-15T00:00:00": day(2026, 10, 15), "2026-10-15T23:30:00": day(2026, 10, 15), "2026-10-15": day(2026, 10, 15),
		"0001-01-01T00:00:00": nil, "": nil, "soon": nil, "2026-02-30": nil,
	} {
		require.Equal(t, want, producers.ReadRecord([]byte(`{"on":"`+in+`"}`)).Date("on"), in)
	}
	at := producers.ReadRecord([]byte(`{"on":"2020-10-13T18:38:42.997"}`)).Time("on")
	require.Equal(t, time.Date(2020, 10, 13, 18, 38, 42, 997e6, time.UTC), *at)
}

func TestDigestIsThatOfTheContent(t *testing.T) {
	t.Parallel()
	digest := func(name, body string) string {
		return producers.Digest([]event.Part{{Name: name, Status: 200, FetchedAt: time.Now(), Body: []byte(body)}}, "objectType")
	}
	base := digest("sale", `{"a":1,"b":"x"}`)
	require.Equal(t, base, digest("sale", "\xef\xbb\xbf{ \"b\":\"x\x01\",\r\n\"a\":1, \"objectType\":\"sale\"}"))
	for _, other := range []string{`{"a":2,"b":"x"}`, `{"a":1,"b":"x","c":null}`, `{"a":"1","b":"x"}`, `no JSON`} {
		require.NotEqual(t, base, digest("sale", other), other)
	}
	require.NotEqual(t, base, digest("agents", `{"a":1,"b":"x"}`))
	require.NotEqual(t, digest("sale", "x"), digest("sale", "y"))
	require.NotEqual(t, producers.Digest(nil), producers.Digest([]event.Part{{}}))
}
