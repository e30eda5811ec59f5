package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"
)

// operate does what a person does at night: a note whose outcome nobody could tell is looked for in
// the CRM, and settled (class D). The bus itself never sends it twice.
func (b *bus) operate(ctx context.Context) (settled int) {
	b.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(b.command(ctx, "held", "list", "--adapter", "followupboss", "--cause", "outcome unknown", "--json")), "\n") {
		if line == "" {
			continue
		}
		var held struct {
			Key           string `json:"key"`
			Tenant        string `json:"tenant"`
			ReleaseWanted bool   `json:"release_wanted"`
		}
		require.NoError(b.t, json.Unmarshal([]byte(line), &held), line)
		if held.ReleaseWanted {
			continue // settled already: its owner has not come to it
		}
		what, found := b.unknown(ctx, held.Key)
		if !found {
			continue
		}
		outcome := "again"
		if b.noted(ctx, held.Tenant, what) {
			outcome = "applied"
		}
		b.command(ctx, "held", "settle", "--adapter", "followupboss", "--outcome", outcome, "--reason", "looked in the CRM", held.Key)
		settled++
	}
	return settled
}

// note is what an effect's line says of a note.
type note struct{ contact, document, envelope string }

var noteLine = regexp.MustCompile(`^note: contact (\S+) signed document (\S+) of envelope (\S+)$`)

// unknown is the note of a key whose outcome is unknown, as held show tells it.
func (b *bus) unknown(ctx context.Context, key string) (note, bool) {
	b.t.Helper()
	var shown struct {
		Effects []struct {
			State string `json:"state"`
			Line  string `json:"line"`
		} `json:"effects"`
	}
	out := b.command(ctx, "held", "show", "--adapter", "followupboss", "--json", key)
	require.NoError(b.t, json.Unmarshal([]byte(strings.Split(out, "\n")[0]), &shown), out)
	for _, e := range shown.Effects {
		if m := noteLine.FindStringSubmatch(e.Line); m != nil && e.State == "unknown" {
			return note{m[1], m[2], m[3]}, true
		}
	}
	return note{}, false
}

// noted looks whether a note is in the CRM: on its person's timeline, with its envelope and document.
func (b *bus) noted(ctx context.Context, tenant string, n note) bool {
	b.t.Helper()
	var person int64
	require.NoError(b.t, b.pool.QueryRow(ctx,
		"SELECT person_id FROM followupboss.person_link WHERE tenant = $1 AND left(contact_key, 8) = $2", tenant, n.contact).Scan(&person))
	var notes []struct {
		PersonID int64  `json:"personId"`
		Body     string `json:"body"`
	}
	b.control(ctx, http.MethodGet, "/followupboss/notes?tenant="+tenant, "", &notes)
	mark := fmt.Sprintf("(envelope %.8s, document %s)", n.envelope, n.document)
	for _, have := range notes {
		if have.PersonID == person && strings.Contains(have.Body, mark) {
			return true
		}
	}
	return false
}
