package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Operate does what a person does at night: a note whose outcome nobody could tell is looked for in
// the CRM, and settled (class D). The bus itself never sends it twice.
func (b *Bus) Operate(ctx context.Context) (settled int, err error) {
	list, err := b.Command(ctx, "held", "list", "--adapter", "followupboss", "--cause", "outcome unknown", "--json")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(list) {
		var held struct {
			Key           string `json:"key"`
			Tenant        string `json:"tenant"`
			ReleaseWanted bool   `json:"release_wanted"`
		}
		if err := json.Unmarshal([]byte(line), &held); err != nil {
			return settled, fmt.Errorf("reading a line of held list: %w", err)
		}
		if held.ReleaseWanted {
			continue // settled already: its owner has not come to it
		}
		what, found, err := b.unknown(ctx, held.Key)
		if err != nil {
			return settled, err
		}
		if !found {
			continue
		}
		there, err := b.noted(ctx, held.Tenant, what)
		if err != nil {
			return settled, err
		}
		outcome := "again"
		if there {
			outcome = "applied"
		}
		if _, err := b.Command(ctx, "held", "settle", "--adapter", "followupboss", "--outcome", outcome,
			"--reason", "looked in the CRM", held.Key); err != nil {
			return settled, err
		}
		settled++
	}
	return settled, nil
}

// note is what an effect's line says of a note.
type note struct{ contact, document, envelope string }

var noteLine = regexp.MustCompile(`^note: contact (\S+) signed document (\S+) of envelope (\S+)$`)

// unknown is the note of a key whose outcome is unknown, as held show tells it.
func (b *Bus) unknown(ctx context.Context, key string) (note, bool, error) {
	out, err := b.Command(ctx, "held", "show", "--adapter", "followupboss", "--json", key)
	if err != nil {
		return note{}, false, err
	}
	var shown struct {
		Effects []struct {
			State string `json:"state"`
			Line  string `json:"line"`
		} `json:"effects"`
	}
	first, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(first), &shown); err != nil {
		return note{}, false, fmt.Errorf("reading held show of %s: %w", key, err)
	}
	for _, e := range shown.Effects {
		if m := noteLine.FindStringSubmatch(e.Line); m != nil && e.State == "unknown" {
			return note{m[1], m[2], m[3]}, true, nil
		}
	}
	return note{}, false, nil
}

// noted looks whether a note is in the CRM: on its person's timeline, with its envelope and document.
func (b *Bus) noted(ctx context.Context, tenant string, n note) (bool, error) {
	var person int64
	if err := b.Pool.QueryRow(ctx, sqlPerson, tenant, n.contact).Scan(&person); err != nil {
		return false, fmt.Errorf("finding the person of contact %s: %w", n.contact, err)
	}
	var notes []struct {
		PersonID int64  `json:"personId"`
		Body     string `json:"body"`
	}
	if err := b.Control(ctx, http.MethodGet, "/followupboss/notes?tenant="+tenant, "", &notes); err != nil {
		return false, err
	}
	mark := fmt.Sprintf("(envelope %.8s, document %s)", n.envelope, n.document)
	for _, have := range notes {
		if have.PersonID == person && strings.Contains(have.Body, mark) {
			return true, nil
		}
	}
	return false, nil
}
