package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
	"conveyance/processors/link"
)

// The tables of a record that waits for its deal, and of one that was tied by hand and untied again.
const linked = `
INSERT INTO translate.link_wait (resource, tenant, undone) VALUES ('lakeshore/docusign/main/envelope/e1', 'lakeshore', true);
INSERT INTO translate.waiting_claim (resource, tenant, kind, claim) VALUES
  ('lakeshore/docusign/main/envelope/e1', 'lakeshore', 'email', 'h1'), ('lakeshore/docusign/main/envelope/e1', 'lakeshore', 'email', 'h2'),
  ('lakeshore/docusign/main/envelope/e1', 'lakeshore', 'mls', 'h3');
INSERT INTO translate.deal_claim (tenant, kind, claim, deal_key) VALUES
  ('lakeshore', 'email', 'h1', 'lakeshore/skyslope/main/sale/s1'), ('lakeshore', 'mls', 'h3', 'lakeshore/skyslope/main/sale/s1'),
  ('lakeshore', 'email', 'h2', 'lakeshore/skyslope/main/sale/s2'), ('lakeshore', 'mls', 'h4', 'lakeshore/skyslope/main/sale/s2');
INSERT INTO translate.link_decision (resource, seq, tenant, deal_key, rung, evidence, actor, reason, at) VALUES
  ('lakeshore/docusign/main/envelope/e1', 1, 'lakeshore', 'lakeshore/skyslope/main/sale/s2', 'TWO_EMAILS', 'email:h2', NULL, '', now()),
  ('lakeshore/docusign/main/envelope/e1', 2, 'lakeshore', NULL, 'PERSON', '', 'ada', 'wrong deal', now()),
  ('lakeshore/docusign/main/envelope/e2', 1, 'lakeshore', 'lakeshore/skyslope/main/sale/s1', 'DEAL_FIELD', 'deal_id:h5', NULL, '', now());
INSERT INTO timeline.deal (deal_key, tenant, source_id) VALUES
  ('lakeshore/docusign/main/envelope/e1', 'lakeshore', 'e1'), ('lakeshore/skyslope/main/sale/s1', 'lakeshore', 's1');
`

func TestRecordsWithoutADealAreListedAndExplained(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	must(t, "migrate", "--postgres", url)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	_, err = conn.Exec(t.Context(), linked)
	require.NoError(t, err)

	all := lines(t, must(t, "link", "list", "--postgres", url, "--json"))
	require.Len(t, all, 1)
	require.Equal(t, []any{"email", "email", "mls"}, all[0]["claims"], "by kind alone")
	require.Empty(t, lines(t, must(t, "link", "list", "--tenant", "prairie", "--postgres", url, "--json")))
	text := must(t, "link", "list", "--postgres", url)
	require.Contains(t, text, "link undone")
	require.Contains(t, text, "2 email, mls")
	require.NotContains(t, text, "h1")

	text = must(t, "link", "suggest", "e1", "--postgres", url)
	require.Less(t, strings.Index(text, "sale/s1"), strings.Index(text, "sale/s2"), "the likeliest first")
	require.Contains(t, text, "another", "and what speaks against it")

	text = must(t, "why", "e1", "--postgres", url)
	require.Contains(t, text, "untied from its deal by ada")
	require.Contains(t, text, "conveyance link suggest 'lakeshore/docusign/main/envelope/e1'")
	text = must(t, "why", "s1", "--postgres", url)
	require.Contains(t, text, "envelope/e2 belongs to deal lakeshore/skyslope/main/sale/s1, tied by deal field")

	code, _, errs := call(t, "link", "undo", "e1", "--postgres", url, "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1", "--reason", "x")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, link.ErrNotLinked.Error())
	code, _, errs = call(t, "link", "set", "e1", "s9", "--postgres", url, "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, link.ErrNoDeal.Error())
	out := must(t, "link", "set", "e1", "s1", "--postgres", url, "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1")
	require.Contains(t, out, "envelope/e1 belongs to deal lakeshore/skyslope/main/sale/s1")
}
