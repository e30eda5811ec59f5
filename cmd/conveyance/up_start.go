package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"conveyance/internal/devstack"
	"conveyance/internal/devstack/localpg"
	"conveyance/internal/fleet"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

// startInfra starts, side by side, each part that no flag replaces by a real one.
func (s *stack) startInfra(ctx context.Context) error {
	s.up.Kafka, s.up.Registry, s.up.Postgres = s.g.Kafka, s.g.RegistryURL, s.g.PostgresURL
	s.up.HTTP, s.up.Sandbox = s.ports.url(s.ports.HTTP), s.ports.url(s.ports.Sandbox)
	if err := s.sealingKey(); err != nil {
		return err
	}
	var err error
	if s.tenants, err = devstack.WriteBrokerages(s.g.Dir, s.up.Sandbox); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if s.up.Kafka == "" {
		s.up.Kafka = s.ports.addr(s.ports.Kafka)
		g.Go(func() error {
			return s.infraChild(ctx, "broker", s.ports.Kafka, "--data", filepath.Join(s.g.Dir, "kafka"))
		})
	}
	if s.up.Registry == "" {
		s.up.Registry = s.ports.url(s.ports.Registry)
		g.Go(func() error {
			return s.infraChild(ctx, "registry", s.ports.Registry, "--file", filepath.Join(s.g.Dir, "registry.json"))
		})
	}
	g.Go(func() error {
		return s.infraChild(ctx, "sandbox", s.ports.Sandbox, "--tenants", s.tenants,
			"--state", filepath.Join(s.g.Dir, "sandbox"), "--seed", strconv.FormatInt(s.cmd.Seed, 10),
			"--time-scale", strconv.FormatFloat(s.cmd.TimeScale, 'f', -1, 64))
	})
	if s.up.Postgres == "" {
		g.Go(func() error { return s.startPostgres(ctx) })
	}
	return g.Wait()
}

func (s *stack) startPostgres(ctx context.Context) error {
	dir, err := filepath.Abs(filepath.Join(s.g.Dir, "postgres"))
	if err != nil {
		return err
	}
	pg, err := localpg.Start(ctx, localpg.Options{
		Dir: dir, Port: s.ports.Postgres, BinaryRepository: s.cmd.PostgresRepository, Progress: s.g.errOut,
	})
	if err != nil {
		return err
	}
	s.postgres, s.up.Postgres = pg, pg.URL
	return nil
}

// infraChild keeps one of up's own servers running and waits until its port answers.
func (s *stack) infraChild(ctx context.Context, name string, port int, args ...string) error {
	if err := s.sup.Keep(name, append(args, "--listen", s.ports.addr(port)), []string{"GOMEMLIMIT=100MiB"}); err != nil {
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

// prepare makes what the stages expect: tables, topics, schemas, tenants. All of it is idempotent.
func (s *stack) prepare(ctx context.Context) error {
	g := *s.g
	g.Kafka, g.RegistryURL, g.PostgresURL = s.up.Kafka, s.up.Registry, s.up.Postgres
	for _, m := range allMigrations() {
		if err := m.Apply(ctx, g.PostgresURL); err != nil {
			return err
		}
	}
	if err := applyTopics(ctx, &g, 1); err != nil {
		return err
	}
	if err := registerSchemas(ctx, &g); err != nil {
		return err
	}
	if err := applyTenants(ctx, &g, s.tenants, s.sealingKeyFile()); err != nil {
		return err
	}
	return s.listTenants(ctx, &g)
}

// listTenants fills up.json's tenants.
func (s *stack) listTenants(ctx context.Context, g *globals) error {
	store, pool, err := openTenants(ctx, g, s.sealingKeyFile())
	if err != nil {
		return err
	}
	defer pool.Close()
	all, err := store.Tenants(ctx)
	if err != nil {
		return err
	}
	s.up.Tenants = map[string]upTenant{}
	for _, t := range all {
		accounts := map[string]upAccount{}
		for _, a := range t.Accounts {
			accounts[a.Vendor+"/"+a.Name] = upAccount{}
		}
		s.up.Tenants[t.ID] = upTenant{Accounts: accounts}
	}
	return nil
}

// awaitReady waits until a stage's own /readyz says yes.
func (s *stack) awaitReady(ctx context.Context, name string) error {
	pool, err := postgres.Open(ctx, s.up.Postgres, "conveyance up")
	if err != nil {
		return err
	}
	defer pool.Close()
	for {
		err := ready(ctx, fleet.New(pool, tenant.Schema), name)
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

// ready asks the process of that name.
func ready(ctx context.Context, f *fleet.Fleet, name string) error {
	all, err := f.Processes(ctx)
	if err != nil {
		return err
	}
	err = errors.New("it has not said yet that it lives")
	for _, p := range all {
		if p.Name != name || !p.Alive {
			continue
		}
		if err = askReady(ctx, p.HTTP); err == nil {
			return nil
		}
	}
	return err
}

func askReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready (HTTP %d)", resp.StatusCode)
	}
	return nil
}

// notReady lists the stages that are not ready, for up's own /readyz.
func (s *stack) notReady(ctx context.Context) map[string]string {
	reasons := map[string]string{}
	pool, err := postgres.Open(ctx, s.up.Postgres, "conveyance up")
	if err != nil {
		return map[string]string{"postgres": err.Error()}
	}
	defer pool.Close()
	for _, name := range s.stages {
		if err := ready(ctx, fleet.New(pool, tenant.Schema), name); err != nil {
			reasons[name] = err.Error()
		}
	}
	return reasons
}
