package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conveyance/avro/topic"
	"conveyance/consumers"
	consumerreg "conveyance/consumers/register"
	"conveyance/consumers/warehouse"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/ingest"
	producerreg "conveyance/producers/register"
)

// bus is the path from the door to the warehouse, stage by stage, as the commands put it together.
type bus struct {
	l       *lab
	url     string // of the door's only account
	vendors []producers.Vendor
	runs    []func(context.Context) error
	checks  []func() error
	closers []func()
	fail    func(error) // ends the benchmark
}

// tables of all stages.
func tables() []postgres.Migrations {
	sets := []postgres.Migrations{{Schema: ingest.Schema, Set: "own", Files: ingest.Migrations()}}
	for _, own := range []postgres.Migrations{
		{Schema: fetch.Schema, Files: fetch.Migrations()},
		{Schema: translate.Schema, Files: translate.Migrations()},
		{Schema: warehouse.Name, Files: warehouse.Migrations()},
	} {
		own.Set = "own"
		sets = append(sets, postgres.Migrations{Schema: own.Schema, Set: "engine", Files: ledger.Migrations()}, own)
	}
	return sets
}

// bus puts the stages together. It is to be closed even where there is an error.
func (l *lab) bus(ctx context.Context, fail func(error)) (*bus, error) {
	b := &bus{l: l, fail: fail}
	var err error
	if b.vendors, err = producerreg.Vendors(producers.Deps{HTTP: b}); err != nil {
		return b, err
	}
	for _, add := range []func(context.Context) error{b.ingest, b.fetch, b.translate, b.warehouse} {
		if err := add(ctx); err != nil {
			return b, err
		}
	}
	return b, nil
}

// close is for when all runs have ended.
func (b *bus) close() {
	for _, c := range slices.Backward(b.closers) {
		c()
	}
}

// ready is what the stages say of themselves.
func (b *bus) ready() error {
	var errs []error
	for _, check := range b.checks {
		errs = append(errs, check())
	}
	return errors.Join(errs...)
}

func (b *bus) add(run func(context.Context) error, ready func() error) {
	b.runs, b.checks = append(b.runs, run), append(b.checks, ready)
}

// deps are a stage's, with connections of its own, as its process would have them.
func (b *bus) deps(ctx context.Context, name string) (stream.Deps, error) {
	d := b.l.deps()
	pool, err := postgres.Open(ctx, b.l.pg.URL, "bench "+name)
	if err != nil {
		return d, err
	}
	b.closers = append(b.closers, pool.Close)
	d.Pool = pool
	return d, nil
}

func (b *bus) publisher(d stream.Deps) (*stream.Publisher, error) {
	p, err := stream.NewPublisher("", d)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, p.Close)
	return p, nil
}

func (b *bus) ingest(ctx context.Context) error {
	d, err := b.deps(ctx, ingest.Schema)
	if err != nil {
		return err
	}
	p, err := b.publisher(d)
	if err != nil {
		return err
	}
	door, err := ingest.New(ingest.Config{}, ingest.Deps{
		Pool: d.Pool, Endpoints: oneDoor{}, Tenants: brokerage{}, Vendors: b.vendors,
		Publish: published{p}, Log: d.Log, Metrics: d.Metrics,
	})
	if err != nil {
		return err
	}
	server, err := ingest.Listen(ctx, "127.0.0.1:0", door.Handler(), d.Log)
	if err != nil {
		return err
	}
	b.url = "http://" + server.Addr() + doorPath
	b.add(func(ctx context.Context) error { return door.Run(ctx, server.Run) }, door.Ready)
	return nil
}

// fetch runs without its pollers: they would find nothing at a vendor that tells all by itself.
func (b *bus) fetch(ctx context.Context) error {
	d, err := b.deps(ctx, fetch.Schema)
	if err != nil {
		return err
	}
	p, err := b.publisher(d)
	if err != nil {
		return err
	}
	f, err := fetch.New(fetch.Config{}, fetch.Deps{
		Pool: d.Pool, Publish: p, Tenants: brokerage{}, Vendors: b.vendors, Log: d.Log, Metrics: d.Metrics,
	})
	if err != nil {
		return err
	}
	workers := f.Workers()
	b.add(workers.Run, workers.Ready)
	return b.batch(d, fetch.Schema, f.Intake(), topic.Webhooks(docusign.Name))
}

func (b *bus) translate(ctx context.Context) error {
	d, err := b.deps(ctx, translate.Schema)
	if err != nil {
		return err
	}
	h, err := translate.New(translate.Config{}, translate.Deps{
		Pool: d.Pool, Codec: d.Codec, Tenants: brokerage{}, Vendors: b.vendors, Metrics: d.Metrics, Log: d.Log,
	})
	if err != nil {
		return err
	}
	var topics []string
	for _, v := range b.vendors {
		topics = append(topics, topic.Snapshots(v.Name))
	}
	return b.batch(d, translate.Schema, h, topics...)
}

func (b *bus) warehouse(ctx context.Context) error {
	d, err := b.deps(ctx, warehouse.Name)
	if err != nil {
		return err
	}
	all, err := consumerreg.Destinations()
	if err != nil {
		return err
	}
	for _, to := range all {
		if to.Name != warehouse.Name {
			continue
		}
		h, err := consumers.Batched(to, consumers.Deps{
			Pool: d.Pool, Schema: to.Name, Tenants: brokerage{}, Log: d.Log, Metrics: d.Metrics,
		})
		if err != nil {
			return err
		}
		return b.batch(d, to.Name, h, to.Topics...)
	}
	return errors.New("the register has no warehouse")
}

func (b *bus) batch(d stream.Deps, group string, h stream.BatchHandler, topics ...string) error {
	e, err := stream.NewBatch(stream.Config{Group: group, Topics: topics}, d, h)
	if err != nil {
		return err
	}
	b.add(e.Run, e.Ready)
	return nil
}

// Do is every call to a vendor: there must be none, or something else was measured.
func (b *bus) Do(_ context.Context, a tenant.Account, r vendorhttp.Request) (vendorhttp.Response, error) {
	err := fmt.Errorf("a record of the load was read at %s: %s %s", a.Vendor, r.Method, r.Path)
	b.fail(err)
	return vendorhttp.Response{}, err
}
