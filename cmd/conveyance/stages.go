package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conveyance/avro/topic"
	"conveyance/consumers"
	consumerreg "conveyance/consumers/register"
	"conveyance/internal/budget"
	"conveyance/internal/stream"
	"conveyance/internal/vendorhttp"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
	"conveyance/producers"
	producerreg "conveyance/producers/register"
)

// vendors are the register's, with do making their calls; nil where only names and mappers count.
func vendors(do vendorhttp.Doer) []producers.Vendor {
	all, err := producerreg.Vendors(producers.Deps{HTTP: do})
	if err != nil {
		panic(err) // the register is a constant of the build, and its test walks it
	}
	return all
}

func vendorNames() []string {
	var names []string
	for _, v := range vendors(nil) {
		names = append(names, v.Name)
	}
	return names
}

func destinations() []consumers.Destination {
	all, err := consumerreg.Destinations(vendorNames()...)
	if err != nil {
		panic(err) // as above
	}
	return all
}

// stageNames are the stages that up runs, in the order of the data.
func stageNames() []string {
	names := []string{"ingest", "fetch", "translate"}
	for _, d := range destinations() {
		names = append(names, "adapter "+d.Name)
	}
	return names
}

// quotas are what vendors' pages say; an answer's headers overrule them.
func quotas() map[string]budget.Quota {
	return map[string]budget.Quota{
		"followupboss":            {Calls: 250, Window: 10 * time.Second},
		"followupboss/PUT.people": {Calls: 25, Window: 10 * time.Second},
		"followupboss/notes":      {Calls: 10, Window: 10 * time.Second},
		"docusign":                {Calls: 3000, Window: time.Hour},
		"docusign/burst":          {Calls: 500, Window: 30 * time.Second},
	}
}

type fetchCmd struct {
	stageFlags
	PollEvery   time.Duration `help:"How often an account is polled whose vendor sends no webhooks. Default: the vendor's own." placeholder:"5s"`
	PollingRule time.Duration `env:"CONVEYANCE_POLLING_RULE" help:"Least time between two reads of one record at a vendor that has such a rule. Default: the vendor's own." placeholder:"15m"`
	Concurrency int           `help:"Records read at once." default:"16"`
}

// Help is shown by fetch --help.
func (fetchCmd) Help() string { return "Example: conveyance fetch --listen :9100" }

// Run runs the stage until ctx ends.
func (c *fetchCmd) Run(ctx context.Context, g *globals) error {
	return runStage(ctx, g, c.stageFlags, "fetch", []string{fetch.Schema}, c.build)
}

func (c *fetchCmd) build(ctx context.Context, rt *environs) ([]part, error) {
	publisher, err := stream.NewPublisher(rt.g.TopicPrefix, rt.deps())
	if err != nil {
		return nil, err
	}
	all := vendors(rt.http)
	var hints []string
	for i := range all {
		if c.PollEvery > 0 && all[i].Webhook == nil { // where webhooks come, a poll only reconciles
			all[i].PollEvery = c.PollEvery
		}
		if c.PollingRule > 0 && all[i].Again > 0 {
			all[i].Again = c.PollingRule
		}
		if all[i].Webhook != nil {
			hints = append(hints, topic.Webhooks(all[i].Name))
		}
	}
	f, err := fetch.New(fetch.Config{Concurrency: c.Concurrency}, fetch.Deps{
		Pool: rt.pool, Publish: publisher, Tenants: rt.tenants, Vendors: all, Log: rt.log, Metrics: rt.metrics,
	})
	if err != nil {
		return nil, err
	}
	workers, pollers := f.Workers(), f.Pollers()
	parts := []part{{"workers", workers.Run, workers.Ready}, {"pollers", pollers.Run, pollers.Ready}}
	if len(hints) == 0 {
		return parts, nil
	}
	cfg, err := rt.group(ctx, fetch.Schema, hints, false)
	if err != nil {
		return nil, err
	}
	e, err := stream.NewBatch(cfg, rt.deps(), f.Intake())
	return append(parts, part{"intake", e.Run, e.Ready}), err
}

type translateCmd struct{ stageFlags }

// Help is shown by translate --help.
func (translateCmd) Help() string { return "Example: conveyance translate --listen :9100" }

// Run runs the stage until ctx ends.
func (c *translateCmd) Run(ctx context.Context, g *globals) error {
	defer translate.CollectRarely()()
	return runStage(ctx, g, c.stageFlags, "translate", []string{translate.Schema}, c.build)
}

func (c *translateCmd) build(ctx context.Context, rt *environs) ([]part, error) {
	all := vendors(rt.http)
	var topics []string
	for _, v := range all {
		topics = append(topics, topic.Snapshots(v.Name))
	}
	cfg, err := rt.group(ctx, translate.Schema, topics, false)
	if err != nil {
		return nil, err
	}
	h, err := translate.New(translate.Config{}, translate.Deps{
		Pool: rt.pool, Codec: rt.codec, Tenants: rt.tenants, Vendors: all, Metrics: rt.metrics, Log: rt.log,
	})
	if err != nil {
		return nil, err
	}
	e, err := stream.NewBatch(cfg, rt.deps(), h)
	if err != nil {
		return nil, err
	}
	return []part{{"translate", e.Run, e.Ready}}, nil
}

type adapterCmd struct {
	stageFlags
	Name         string        `arg:"" help:"Destination: ${destinations}."`
	Concurrency  int           `help:"Keys worked on at once, over all partitions." default:"64"`
	CallDeadline time.Duration `env:"CONVEYANCE_CALL_DEADLINE" help:"How long one call to the destination may take." default:"10s"`
	VendorLag    time.Duration `env:"CONVEYANCE_VENDOR_LAG" help:"How long the destination may go on working on a call that was cut; then an unknown outcome is read back." default:"5s"`
	From         string        `help:"Where a new group begins: earliest, latest or a time (RFC 3339)." default:"earliest"`
}

// Help is shown by adapter --help.
func (adapterCmd) Help() string { return "Example: conveyance adapter warehouse --listen :9100" }

// Run runs the stage until ctx ends.
func (c *adapterCmd) Run(ctx context.Context, g *globals) error {
	d, err := destination(c.Name)
	if err != nil {
		return err
	}
	start, err := c.start()
	if err != nil {
		return err
	}
	return runStage(ctx, g, c.stageFlags, "adapter "+d.Name, []string{d.Name}, func(ctx context.Context, rt *environs) ([]part, error) {
		return c.build(ctx, rt, d, start)
	})
}

func (c *adapterCmd) build(
	ctx context.Context, rt *environs, d consumers.Destination, start stream.Start,
) ([]part, error) {
	cfg, err := rt.group(ctx, d.Name, d.Topics, d.Adapter != nil)
	if err != nil {
		return nil, err
	}
	cfg.Start, cfg.Concurrency, cfg.CallDeadline, cfg.VendorLag = start, c.Concurrency, c.CallDeadline, c.VendorLag
	deps := consumers.Deps{
		Pool: rt.pool, Schema: d.Name, Tenants: rt.tenants, HTTP: rt.http, Budget: rt.budget, Log: rt.log, Metrics: rt.metrics,
	}
	e, err := engine(cfg, rt.deps(), d, deps)
	if err != nil {
		return nil, err
	}
	return []part{{d.Name, e.Run, e.Ready}}, nil
}

func engine(cfg stream.Config, deps stream.Deps, d consumers.Destination, own consumers.Deps) (*stream.Engine, error) {
	if d.Adapter != nil {
		h, err := consumers.Keyed(d, own)
		if err != nil {
			return nil, err
		}
		return stream.NewKeyed(cfg, deps, h)
	}
	h, err := consumers.Batched(d, own)
	if err != nil {
		return nil, err
	}
	return stream.NewBatch(cfg, deps, h)
}

func (c *adapterCmd) start() (stream.Start, error) {
	switch c.From {
	case "earliest":
		return stream.Start{}, nil
	case "latest":
		return stream.Start{Latest: true}, nil
	}
	at, err := time.Parse(time.RFC3339, c.From)
	if err != nil {
		return stream.Start{}, errUsage(fmt.Sprintf("--from %s: say earliest, latest or a time such as 2026-01-31T00:00:00Z", c.From))
	}
	return stream.Start{At: at}, nil
}

func destination(name string) (consumers.Destination, error) {
	for _, d := range destinations() {
		if d.Name == name {
			return d, nil
		}
	}
	return consumers.Destination{}, errUsage(fmt.Sprintf("no destination is called %s: there are %s", name, destinationNames()))
}

func destinationNames() string {
	var names []string
	for _, d := range destinations() {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}
