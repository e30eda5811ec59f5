package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"conveyance/internal/devstack/localpg"
)

// postgresAgainAfter is the wait before a Postgres that would not start is tried again.
const postgresAgainAfter = time.Second

// localPostgres is up's own Postgres, kept running until stop.
type localPostgres struct {
	cancel context.CancelFunc
	ended  chan error
}

// startPostgres starts the server within ctx and keeps it as long as up runs.
func (s *stack) startPostgres(ctx, whole context.Context) error {
	dir, err := filepath.Abs(filepath.Join(s.g.Dir, "postgres"))
	if err != nil {
		return err
	}
	opts := localpg.Options{
		Dir: dir, Port: s.ports.Postgres, BinaryRepository: s.cmd.PostgresRepository, Progress: s.g.errOut,
	}
	pg, err := localpg.Start(ctx, opts)
	if err != nil {
		return err
	}
	s.up.Postgres = pg.URL
	whole, cancel := context.WithCancel(context.WithoutCancel(whole)) // it outlives the stages that drain into it
	s.postgres = &localPostgres{cancel, make(chan error, 1)}
	go func() { s.postgres.ended <- s.keepPostgres(whole, opts, pg) }()
	return nil
}

// keepPostgres starts the server again whenever it ends: the stages stall meanwhile and go on where
// they were, since what Postgres committed is there.
func (s *stack) keepPostgres(ctx context.Context, opts localpg.Options, pg *localpg.Server) error {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return pg.Stop()
		case <-pg.Done():
		}
		s.note("Postgres has ended and is started again; every stage waits for it and loses nothing. Its log: %s.log", opts.Dir)
		stopped := pg.Stop() // gives the folder free
		for {
			next, err := localpg.Start(ctx, opts)
			if err == nil {
				pg = next
				break
			}
			if said != err.Error() {
				said = err.Error()
				s.note("Postgres does not start, and is tried again: %v", err)
			}
			select {
			case <-ctx.Done():
				return errors.Join(stopped, err)
			case <-time.After(postgresAgainAfter):
			}
		}
	}
}

// stop ends the server for good.
func (p *localPostgres) stop() error {
	p.cancel()
	return <-p.ended
}
