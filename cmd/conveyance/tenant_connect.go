package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"conveyance/internal/tenant"
	"conveyance/internal/tenant/oauth"
	"conveyance/producers"
	producerreg "conveyance/producers/register"
)

type tenantConnectCmd struct {
	Tenant  string `arg:"" help:"Brokerage."`
	Account string `help:"One account, as vendor/name. Default: all of the brokerage." placeholder:"docusign/main"`
	Wait    bool   `help:"Wait until a person has consented, 15 minutes at most, and go on." default:"true" negatable:""`
}

// Help is shown by tenant connect --help.
func (tenantConnectCmd) Help() string {
	return `Open the link that it prints in a browser, logged in at the vendor as the brokerage. The door (conveyance ingest) must be reachable at --public-url.

Example: conveyance tenant connect lakeshore --account docusign/main --public-url https://hooks.example.com`
}

// connection is one line of connect, as --json prints it.
type connection struct {
	Kind    string     `json:"kind"` // webhook, consent, connected, subscribed
	Account string     `json:"account"`
	URL     string     `json:"url,omitempty"`     // of the webhook
	Link    string     `json:"link,omitempty"`    // for a person's browser
	Expires *time.Time `json:"expires,omitempty"` // of the link
	Changed []string   `json:"changed,omitempty"` // at the vendor
}

// connector connects one account after the other.
type connector struct {
	g     *globals
	cmd   *tenantConnectCmd
	store *tenant.Store
	calls *calls
	left  bool // something waits for a person
}

// Run connects; exit 3 where a person is still needed.
func (c *tenantConnectCmd) Run(ctx context.Context, g *globals, of *tenantCmd) error {
	key, err := of.key(g)
	if err != nil {
		return err
	}
	store, pool, err := openTenants(ctx, g, key)
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	if g.PublicURL == "" {
		return errUsage("say how vendors reach the door: --public-url (or CONVEYANCE_PUBLIC_URL)")
	}
	calls, err := openCalls(g, store, pool, of.allows(g))
	if err != nil {
		return err
	}
	defer calls.close()
	vendors, err := producerreg.Vendors(producers.Deps{HTTP: calls.http, PublicURL: g.PublicURL})
	if err != nil {
		return err
	}
	t, err := store.Tenant(ctx, c.Tenant)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Tenant, err)
	}
	work := connector{g, c, store, calls, false}
	found := false
	for _, a := range t.Accounts {
		if c.Account != "" && c.Account != a.Vendor+"/"+a.Name {
			continue
		}
		found = true
		for _, v := range vendors {
			if v.Name == a.Vendor {
				if err := work.account(ctx, v, a); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case !found:
		return fmt.Errorf("%s/%s: %w", c.Tenant, c.Account, tenant.ErrUnknownAccount)
	case work.left:
		return errFound
	}
	return nil
}

// account connects one: its address, its tokens, the vendor's webhooks.
func (c *connector) account(ctx context.Context, v producers.Vendor, a tenant.Account) error {
	url := ""
	if v.Webhook != nil && a.WebhookToken != "" {
		url = a.WebhookURL(c.g.PublicURL)
		if err := c.say(connection{Kind: "webhook", Account: a.Key(), URL: url}, "%s: webhooks come in at %s\n", a.Key(), url); err != nil {
			return err
		}
	}
	if v.OAuth != nil {
		connected, err := c.consent(ctx, a)
		if err != nil || !connected {
			return err
		}
	}
	if v.Subscriber == nil || url == "" {
		return nil
	}
	changed, err := v.Subscriber.Subscribe(ctx, a, url)
	if err != nil {
		return fmt.Errorf("%s: making %s send its webhooks: %w", a.Key(), a.Vendor, err)
	}
	text := "its webhooks come here already"
	if len(changed) > 0 {
		text = "changed at the vendor: " + strings.Join(changed, "; ")
	}
	return c.say(connection{Kind: "subscribed", Account: a.Key(), Changed: changed}, "%s: %s\n", a.Key(), text)
}

// consent gets the account its tokens, from a person where it must.
func (c *connector) consent(ctx context.Context, a tenant.Account) (connected bool, err error) {
	connected, err = c.calls.tokens.Connect(ctx, a)
	if err != nil && !errors.Is(err, oauth.ErrOtherLogin) {
		return false, fmt.Errorf("%s: %w", a.Key(), err)
	}
	if !connected {
		if err != nil {
			_, _ = fmt.Fprintf(c.g.errOut, "%s: %v: connect it as another person\n", a.Key(), err)
		}
		if connected, err = c.ask(ctx, a); err != nil || !connected {
			return false, err
		}
	}
	return true, c.say(connection{Kind: "connected", Account: a.Key()}, "%s: connected; what waited flows\n", a.Key())
}

// ask prints the link and waits for what becomes of it.
func (c *connector) ask(ctx context.Context, a tenant.Account) (bool, error) {
	asked, err := c.calls.tokens.Begin(ctx, a)
	if err != nil {
		return false, err
	}
	at := asked.ExpiresAt.UTC()
	if err := c.say(connection{Kind: "consent", Account: a.Key(), Link: asked.Link, Expires: &at},
		"%s: open within 15 minutes, logged in at %s as the brokerage:\n  %s\n", a.Key(), a.Vendor, asked.Link); err != nil {
		return false, err
	}
	if !c.cmd.Wait {
		c.left = true
		return false, nil
	}
	stop := c.g.countdown("waiting for the consent", asked.ExpiresAt)
	err = c.calls.tokens.Wait(ctx, asked)
	stop()
	switch {
	case errors.Is(err, tenant.ErrNoFlow):
		return false, fmt.Errorf("%s: nobody consented within 15 minutes: run this again", a.Key())
	case err != nil:
		return false, fmt.Errorf("%s: %w", a.Key(), err)
	}
	return true, nil
}

func (c *connector) say(line connection, format string, args ...any) error {
	return c.g.print(line, func(w io.Writer) { _, _ = fmt.Fprintf(w, format, args...) })
}

// countdown tells each second, on stderr where that is a terminal, how long there is left. stop wipes
// the line.
func (g *globals) countdown(what string, until time.Time) (stop func()) {
	if !isTerminal(g.errOut) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				_, _ = fmt.Fprint(g.errOut, "\r\x1b[K")
				return
			case <-tick.C:
				_, _ = fmt.Fprintf(g.errOut, "\r\x1b[K%s: %s left", what, time.Until(until).Round(time.Second))
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
