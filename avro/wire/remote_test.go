package wire

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
)

const prefix = "test."

// fakeRegistry is a real registry's protocol in memory, with what a test wants to count and to break.
type fakeRegistry struct {
	*srfake.Registry
	server *httptest.Server
	calls  atomic.Int64
	before atomic.Pointer[http.HandlerFunc] // answers instead, where set

	mu    sync.Mutex
	clock time.Time
}

func newRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	r := &fakeRegistry{Registry: srfake.NewRegistry(), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.calls.Add(1)
		if instead := r.before.Load(); instead != nil {
			(*instead)(w, q)
			return
		}
		r.Handler().ServeHTTP(w, q)
	}))
	t.Cleanup(r.server.Close)
	return r
}

func (r *fakeRegistry) answer(status int, body string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	r.before.Store(&h)
}

func (r *fakeRegistry) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

func (r *fakeRegistry) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

func (r *fakeRegistry) codec(t *testing.T, cache string) *Codec {
	t.Helper()
	c, err := New(Config{Registry: r.server.URL, Prefix: prefix, Cache: cache, Now: r.now})
	require.NoError(t, err)
	return c
}

func (r *fakeRegistry) registrar(t *testing.T) *Registrar {
	t.Helper()
	g, err := NewRegistrar(r.server.URL, prefix, topic.Table(topic.PartitionsDefault, "skyslope"))
	require.NoError(t, err)
	return g
}

func (r *fakeRegistry) register(t *testing.T) {
	t.Helper()
	_, err := r.registrar(t).Register(t.Context(), schema.All())
	require.NoError(t, err)
}

// value is a message of an id, with an empty body.
func value(id uint32) []byte { return append(appendFrame(nil, id), 0) }

func changed() *event.ContactChanged {
	return &event.ContactChanged{Origin: event.Origin{Revision: 1}, Contact: event.Contact{Emails: []string{"a@b.c"}}}
}

func TestIDsComeFromTheRegistryAndAreAskedForOnce(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	c := r.codec(t, "")
	asked := r.calls.Load()
	for range 100 {
		b, err := c.AppendEncode(t.Context(), nil, topic.Contacts, changed())
		require.NoError(t, err)
		id, _, err := splitFrame(b)
		require.NoError(t, err)
		held, ok := r.GetSchema(Subject(prefix, topic.Contacts, event.TypeContactChanged), 1)
		require.True(t, ok)
		require.Equal(t, uint32(held.ID), id)
		m, err := c.Decode(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, "a@b.c", m.(*event.ContactChanged).Contact.Emails[0])
	}
	require.Equal(t, asked+2, r.calls.Load(), "one lookup to write, one to read")
}

func TestRunTimeNeverRegisters(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c := r.codec(t, "")
	_, err := c.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "conveyance schema register")
	require.False(t, r.SubjectExists(Subject(prefix, topic.Contacts, event.TypeContactChanged)))

	r.register(t)
	_, err = c.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err, "a denied subject is asked for again")
}

func TestUnknownIDIsALaggingFollowerForAMinuteThenPoison(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c := r.codec(t, "")
	decode := func() error { _, err := c.Decode(t.Context(), value(77)); return err }

	require.ErrorIs(t, decode(), ErrUnavailable)
	require.ErrorIs(t, decode(), ErrUnknownSchema)
	asked := r.calls.Load()
	require.ErrorIs(t, decode(), ErrUnavailable)
	require.Equal(t, asked, r.calls.Load(), "not asked again within a second")
	r.pass(GraceDefault - time.Millisecond)
	require.ErrorIs(t, decode(), ErrUnavailable)
	require.Greater(t, r.calls.Load(), asked)
	r.pass(deniedPause)
	require.ErrorIs(t, decode(), ErrPoison)
	require.ErrorIs(t, decode(), ErrUnknownSchema)
	asked = r.calls.Load()
	for range 1000 {
		require.ErrorIs(t, decode(), ErrPoison)
	}
	require.Equal(t, asked, r.calls.Load(), "poison by the thousand does not storm the registry")

	r.SeedSchema("late", 1, 77, sr.Schema{Schema: schema.All()["ContactChanged"]})
	r.pass(deniedPause)
	require.ErrorContains(t, decode(), "walking ContactChanged", "an id that appears after all is read")
}

func TestTimeOfGraceIsASetting(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c, err := New(Config{Registry: r.server.URL, Prefix: prefix, Now: r.now, Grace: 2 * time.Second})
	require.NoError(t, err)
	decode := func() error { _, err := c.Decode(t.Context(), value(77)); return err }
	require.ErrorIs(t, decode(), ErrUnavailable)
	r.pass(2 * time.Second)
	require.ErrorIs(t, decode(), ErrPoison)
	require.ErrorContains(t, decode(), "the registry has denied schema 77 for 2s")
}

func TestAnOutageIsNoDenial(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c := r.codec(t, "")
	decode := func() error { _, err := c.Decode(t.Context(), value(77)); return err }
	for _, answer := range []struct {
		status int
		body   string
	}{
		{http.StatusServiceUnavailable, `{"error_code":50301,"message":"starting"}`},
		{http.StatusNotFound, `<html>no such page</html>`},
		{http.StatusNotFound, `{"error_code":404,"message":"HTTP 404 Not Found"}`},
		{http.StatusUnauthorized, `{"error_code":40101,"message":"who are you"}`},
		{http.StatusOK, `not JSON`},
	} {
		r.answer(answer.status, answer.body)
		for range 3 {
			r.pass(GraceDefault + time.Second)
			err := decode()
			require.ErrorIs(t, err, ErrUnavailable, answer.body)
			require.NotErrorIs(t, err, ErrUnknownSchema, answer.body)
		}
	}
	r.before.Store(nil)
	r.pass(downPause)
	require.ErrorIs(t, decode(), ErrUnavailable, "the first denial starts the minute")
	r.pass(GraceDefault)
	require.ErrorIs(t, decode(), ErrPoison)
}

func TestARegistryThatDoesNotAnswerIsNotAskedForEachID(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c := r.codec(t, "")
	r.answer(http.StatusBadGateway, "")
	asked := r.calls.Load()
	for id := range uint32(50) {
		_, err := c.Decode(t.Context(), value(id))
		require.ErrorIs(t, err, ErrUnavailable)
	}
	require.Equal(t, asked+1, r.calls.Load())
}

func TestProcessStartsFromItsCacheWithTheRegistryDown(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	cache := filepath.Join(t.TempDir(), "schemas.json")
	before := r.codec(t, cache)
	b, err := before.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)
	_, err = before.Decode(t.Context(), b)
	require.NoError(t, err)

	r.server.Close()
	after := r.codec(t, cache)
	again, err := after.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)
	require.Equal(t, b, again)
	_, err = after.Decode(t.Context(), b)
	require.NoError(t, err)
	_, err = after.Decode(t.Context(), value(4711))
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = after.AppendEncode(t.Context(), nil, topic.Deals, &event.DealChanged{Deal: sound("")})
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestTheRegistrysAnswerGoesBeforeTheCaches(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	cache := filepath.Join(t.TempDir(), "schemas.json")
	id, err := r.codec(t, cache).AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)

	r.Reset() // the registry lost its data, and numbers anew
	_, _, err = r.RegisterSchema("other", sr.Schema{Schema: `"string"`})
	require.NoError(t, err)
	r.register(t)
	anew, err := r.codec(t, cache).AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)
	require.NotEqual(t, id[:frameBytes], anew[:frameBytes])
}

func TestCacheOfAnotherRegistryOrBrokenIsEmpty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "schemas.json")
	c, err := openCache(path, "http://one")
	require.NoError(t, err)
	c.learnText(7, "seven")
	c.learnID("subject", 8, "eight")

	c, err = openCache(path, "http://one")
	require.NoError(t, err)
	text, ok := c.text(7)
	require.True(t, ok)
	require.Equal(t, "seven", text)
	id, ok := c.id("subject", "eight")
	require.True(t, ok)
	require.Equal(t, uint32(8), id)
	_, ok = c.id("subject", "a text of another build")
	require.False(t, ok)

	c, err = openCache(path, "http://two")
	require.NoError(t, err)
	_, ok = c.text(7)
	require.False(t, ok)

	require.NoError(t, os.WriteFile(path, []byte(`{"registry":"http://one","schemas":{"7":"se`), 0o600))
	c, err = openCache(path, "http://one")
	require.NoError(t, err)
	_, ok = c.text(7)
	require.False(t, ok)

	_, err = New(Config{Registry: "http://one", Cache: t.TempDir()})
	require.ErrorContains(t, err, "reading the schema cache")
}

func TestProcessesThatShareACacheKeepEachOthersEntries(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "schemas.json")
	a, err := openCache(path, "http://one")
	require.NoError(t, err)
	b, err := openCache(path, "http://one")
	require.NoError(t, err)
	a.learnText(1, "one")
	b.learnText(2, "two")
	c, err := openCache(path, "http://one")
	require.NoError(t, err)
	require.Equal(t, map[uint32]string{1: "one", 2: "two"}, c.data.Schemas)
	left, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file stays")
}

func TestOneQuestionPerIDHoweverManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r remote
		var asked, answered, gone atomic.Int64
		release := make(chan struct{})
		ask := func(ctx context.Context) (any, error) {
			asked.Add(1)
			<-release
			return "text", ctx.Err()
		}
		impatient, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := r.once(impatient, "id 5", ask); errors.Is(err, context.Canceled) {
				gone.Add(1)
			}
		}()
		synctest.Wait()
		for range 20 {
			go func() {
				if text, err := r.once(t.Context(), "id 5", ask); err == nil && text == "text" {
					answered.Add(1)
				}
			}()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 1, gone.Load(), "who gives up does so at once")
		close(release)
		synctest.Wait()
		require.EqualValues(t, 20, answered.Load(), "and takes nobody's answer away")
		require.EqualValues(t, 1, asked.Load())
	})
}

func TestCredentialsAreSentAndNeverShown(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	var sent atomic.Bool
	check := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, password, _ := q.BasicAuth()
		sent.Store(user == "ada" && password == "hunter2")
		r.Handler().ServeHTTP(w, q)
	})
	r.before.Store(&check)
	url := strings.Replace(r.server.URL, "http://", "http://ada:hunter2@", 1)
	path := filepath.Join(t.TempDir(), "schemas.json")
	c, err := New(Config{Registry: url, Prefix: prefix, Cache: path})
	require.NoError(t, err)
	_, err = c.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)
	require.True(t, sent.Load())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2")

	r.server.Close()
	_, err = c.Decode(t.Context(), value(9))
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestAHangingRegistryIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r remote
		started := time.Now()
		_, err := r.once(t.Context(), "id 5", func(ctx context.Context) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, callTimeout, time.Since(started))
	})
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.answer(http.StatusOK, `{"schema":"`+strings.Repeat("x", answerBytesMax)+`"}`)
	_, err := r.codec(t, "").Decode(t.Context(), value(1))
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "too large")
}

func TestTheSecondURLServesWhereTheFirstDoesNot(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.register(t)
	c, err := New(Config{Registry: "http://127.0.0.1:1, " + r.server.URL, Prefix: prefix})
	require.NoError(t, err)
	_, err = c.AppendEncode(t.Context(), nil, topic.Contacts, changed())
	require.NoError(t, err)
}

func TestForeignSchemasArePoisonOrUnknownNeverAGuess(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	c := r.codec(t, "")
	record := func(namespace, name string) string {
		return `{"type":"record","name":"` + name + `","namespace":"` + namespace +
			`","fields":[{"name":"a","type":"string"}]}`
	}
	for id, one := range map[int]struct {
		text string
		typ  sr.SchemaType
		want error
	}{
		1: {record(schema.Namespace, "OfferMade"), sr.TypeAvro, ErrUnknownType},
		2: {record("other.event", "DealChanged"), sr.TypeAvro, ErrUnknownType},
		3: {record(schema.Namespace, "DealChanged"), sr.TypeAvro, ErrPoison}, // lacks what this build asks for
		4: {`"string"`, sr.TypeAvro, ErrPoison},
		5: {`{"type":"recrd"}`, sr.TypeAvro, ErrPoison},
		6: {`message M {}`, sr.TypeProtobuf, ErrPoison},
	} {
		r.SeedSchema("s", id, id, sr.Schema{Schema: one.text, Type: one.typ})
		_, err := c.Decode(t.Context(), value(uint32(id)))
		require.ErrorIs(t, err, one.want, one.text)
	}
}

func TestBadURLIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, u := range []string{
		"localhost:8081", "ftp://registry", "http://", "http://user:hunter2@ho st", "http://a:8081,nonsense",
		"gopher://user:hunter2@host", "http://user:hunter2@host:port",
	} {
		_, err := New(Config{Registry: u})
		require.ErrorContains(t, err, "registry URL", u)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
