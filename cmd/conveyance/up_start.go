package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"conveyance/internal/devstack"
	"conveyance/internal/devstack/child"
	"conveyance/internal/fleet"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

// startParts starts, side by side, each part that no flag replaces by a real one, and makes in it
// what the stages expect: topics, schemas, tables, tenants. All of that is idempotent.
func (s *stack) startParts(ctx context.Context) error {
	s.up.Kafka, s.up.Registry, s.up.Postgres = s.g.Kafka, s.g.RegistryURL, s.g.PostgresURL
	s.up.HTTP, s.up.Sandbox = s.ports.url(s.ports.HTTP), s.ports.url(s.ports.Sandbox)
	if err := s.sealingKey(); err != nil {
		return err
	}
	var err error
	if s.tenants, err = devstack.WriteBrokerages(s.g.Dir, s.up.Sandbox); err != nil {
		return err
	}
	if _, err := readTenants(s.tenants, allowed{AllowLoopback: true}); err != nil { // a typo is said before anything starts
		return err
	}
	work, part := errgroup.WithContext(ctx)
	work.Go(s.timed("Kafka, topics", func() error { return s.startKafka(part) }))
	work.Go(s.timed("registry, schemas", func() error { return s.startRegistry(part) }))
	work.Go(s.timed("simulated vendors", func() error { return s.startVendors(part) }))
	work.Go(s.timed("Postgres, tables, tenants", func() error { return s.startTables(part, ctx) }))
	return work.Wait()
}

// timed says how long a part took to start.
func (s *stack) timed(name string, start func() error) func() error {
	return func() error {
		begun := time.Now()
		if err := start(); err != nil {
			return err
		}
		s.note("%-28s %6d ms", name, time.Since(begun).Milliseconds())
		return nil
	}
}

func (s *stack) startKafka(ctx context.Context) error {
	if s.up.Kafka == "" {
		s.up.Kafka = s.ports.addr(s.ports.Kafka)
		err := s.infraChild(ctx, "broker", s.ports.Kafka, "--data", filepath.Join(s.g.Dir, "kafka"),
			"--trouble-fd", strconv.Itoa(child.SayFD))
		if err != nil {
			return err
		}
	}
	g, copies := *s.g, int16(-1) // a real cluster knows how many it wants
	if g.Kafka == "" {
		copies = 1
	}
	g.Kafka = s.up.Kafka
	return applyTopics(ctx, &g, copies)
}

func (s *stack) startRegistry(ctx context.Context) error {
	if s.up.Registry == "" {
		s.up.Registry = s.ports.url(s.ports.Registry)
		err := s.infraChild(ctx, "registry", s.ports.Registry, "--file", filepath.Join(s.g.Dir, "registry.json"))
		if err != nil {
			return err
		}
	}
	g := *s.g
	g.RegistryURL = s.up.Registry
	return registerSchemas(ctx, &g)
}

func (s *stack) startVendors(ctx context.Context) error {
	return s.infraChild(ctx, "sandbox", s.ports.Sandbox, "--tenants", s.tenants,
		"--state", filepath.Join(s.g.Dir, "sandbox"), "--seed", strconv.FormatInt(s.cmd.Seed, 10),
		"--time-scale", strconv.FormatFloat(s.cmd.TimeScale, 'f', -1, 64), "--webhook-retry", webhookRetry.String())
}

// webhookRetry is when a simulated vendor delivers again what was not taken: DocuSign's own day is
// longer than anybody looks at a demonstration.
const webhookRetry = 5 * time.Second

// startTables starts Postgres within ctx, keeps it as long as whole, and fills it.
func (s *stack) startTables(ctx, whole context.Context) (err error) {
	if s.up.Postgres == "" {
		if err := s.startPostgres(ctx, whole); err != nil {
			return err
		}
	}
	if s.pool, err = postgres.Open(whole, s.up.Postgres, "conveyance up"); err != nil {
		return s.g.away(err, "Postgres", "--postgres")
	}
	if err := migrateAll(ctx, s.up.Postgres); err != nil {
		return err
	}
	g := *s.g
	g.PostgresURL = s.up.Postgres
	if err := applyTenants(ctx, &g, s.tenants, s.sealingKeyFile()); err != nil {
		return err
	}
	return s.listTenants(ctx)
}

// infraChild keeps one of up's own servers running and waits until its port answers.
func (s *stack) infraChild(ctx context.Context, name string, port int, args ...string) error {
	if err := s.sup.Keep(name, append(args, "--listen", s.ports.addr(port)), []string{memoryLimit()}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stageReadyWithin)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.ports.addr(port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s on port %d: its log is %s", name, port, s.sup.LogOf(name))
		case <-time.After(readyLookEvery):
		}
	}
}

func (s *stack) sealingKey() error {
	path := s.sealingKeyFile()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the secrets folder: %w", err)
	}
	key, err := tenant.NewSealingKey()
	if err != nil {
		return err
	}
	return os.WriteFile(path, key, 0o600)
}

// listTenants fills up.json's tenants.
func (s *stack) listTenants(ctx context.Context) error {
	sealer, err := tenant.ReadSealingKey(s.sealingKeyFile())
	if err != nil {
		return err
	}
	store, err := tenant.Open(ctx, s.pool, tenant.Schema, sealer)
	if err != nil {
		return err
	}
	defer store.Close()
	all, err := store.Tenants(ctx)
	if err != nil {
		return err
	}
	s.up.Tenants = map[string]upTenant{}
	for _, t := range all {
		accounts := map[string]upAccount{}
		for _, a := range t.Accounts {
			var u upAccount
			if door, ok := store.Endpoint(ctx, a.Vendor, a.WebhookToken); ok && len(door.Keys) > 0 {
				u.Webhook, u.Secret = a.WebhookURL(s.up.HTTP), string(door.Keys[0].Key)
			}
			accounts[a.Vendor+"/"+a.Name] = u
		}
		s.up.Tenants[t.ID] = upTenant{Accounts: accounts}
	}
	return nil
}

// awaitReady waits until a stage's own /readyz says yes.
func (s *stack) awaitReady(ctx context.Context, name string) error {
	for {
		err := s.ready(ctx, name)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; its log is %s", name, err, s.sup.LogOf(name))
		case <-time.After(readyLookEvery):
		}
	}
}

// ready asks the child that runs now under a name.
func (s *stack) ready(ctx context.Context, name string) error {
	all, err := fleet.New(s.pool, tenant.Schema).Processes(ctx)
	if err != nil {
		return err
	}
	pid := s.sup.PIDs()[name]
	for _, p := range all {
		if p.Name == name && p.PID == pid && p.Alive {
			return askReady(ctx, p.HTTP)
		}
	}
	return errors.New("it has not said yet that it lives")
}
