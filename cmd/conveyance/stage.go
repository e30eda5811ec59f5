package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/wire"
	"conveyance/internal/budget"
	"conveyance/internal/fault"
	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/tenant/oauth"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

// stageFlags are the settings of every stage.
type stageFlags struct {
	allowed
	Listen      string        `env:"CONVEYANCE_LISTEN" help:"Address of /healthz, /readyz and /metrics." default:"127.0.0.1:0"`
	InstanceID  string        `env:"CONVEYANCE_INSTANCE_ID" help:"Static group membership: unique per replica and stable over restarts, for example the pod's name."`
	SealingKey  string        `env:"CONVEYANCE_SEALING_KEY" help:"File of the key that opens the stored credentials." placeholder:"FILE" type:"path"`
	SchemaCache string        `env:"CONVEYANCE_SCHEMA_CACHE" help:"File that keeps schema ids over a restart, so that the stage starts while the registry is down." placeholder:"FILE" type:"path"`
	SchemaGrace time.Duration `env:"CONVEYANCE_SCHEMA_GRACE" help:"How long a schema id that the registry denies may be the lag of a follower: meanwhile its partition waits, then its record parks." default:"60s"`
}

// environs is what a stage works with.
type environs struct {
	g       *globals
	kafka   []kgo.Opt
	flags   stageFlags
	name    string
	log     *zap.Logger
	pool    *pgxpool.Pool
	codec   *wire.Codec
	tenants *tenant.Store
	http    *vendorhttp.Client
	tokens  *oauth.Tokens
	account *vendorhttp.Client // for account servers, which have no gate and no budget
	budget  *budget.Shared
	metrics *prometheus.Registry
	fleet   *fleet.Fleet
	groups  []string // schemas of the groups that run in this process; set before any part runs
}

// part is something that a stage runs until its context ends.
type part struct {
	name  string
	run   func(context.Context) error
	ready func() error // nil = always
}

// runStage opens what a stage needs, builds its parts and runs them; the first that fails ends all.
// schemas are those whose migrations must be there.
func runStage(
	ctx context.Context, g *globals, flags stageFlags, name string, schemas []string,
	build func(context.Context, *environs) ([]part, error),
) error {
	if err := g.resolve(needKafka | needRegistry | needPostgres); err != nil {
		return err
	}
	log, err := g.logger(name)
	if err != nil {
		return err
	}
	if err := fault.At("start"); err != nil {
		return err
	}
	if err := checkMigrations(ctx, g.PostgresURL, append(schemas, tenant.Schema)...); err != nil {
		return g.away(err, "Postgres", "--postgres")
	}
	rt, err := openEnvirons(ctx, g, flags, name, log)
	if err != nil {
		return err
	}
	defer rt.close()
	if err := g.checkKafka(ctx, name, rt.kafka); err != nil {
		return err
	}
	parts, err := build(ctx, rt)
	if err != nil {
		return err
	}
	return rt.serve(ctx, parts)
}

func openEnvirons(ctx context.Context, g *globals, flags stageFlags, name string, log *zap.Logger) (*environs, error) {
	rt := &environs{g: g, flags: flags, name: name, log: log, metrics: observe.NewRegistry()}
	var err error
	if rt.kafka, err = g.kafka(name); err != nil {
		return nil, err
	}
	if rt.pool, err = postgres.OpenStage(ctx, g.PostgresURL, "conveyance "+name); err != nil {
		return nil, err
	}
	if rt.codec, err = wire.New(wire.Config{
		Registry: g.RegistryURL, Prefix: g.TopicPrefix, Cache: flags.SchemaCache, Grace: flags.SchemaGrace,
	}); err != nil {
		return nil, err
	}
	var sealer tenant.Sealer
	if flags.SealingKey != "" {
		if sealer, err = tenant.ReadSealingKey(flags.SealingKey); err != nil {
			return nil, err
		}
	}
	if rt.tenants, err = tenant.Open(ctx, rt.pool, tenant.Schema, sealer); err != nil {
		return nil, err
	}
	if err = rt.metrics.Register(rt.tenants); err != nil {
		return nil, fmt.Errorf("registering the tenants' metrics: %w", err)
	}
	rt.fleet = fleet.New(rt.pool, tenant.Schema)
	rt.budget = budget.New(rt.pool, tenant.Schema, budget.Config{Quotas: quotas()})
	if rt.tokens, rt.account, err = openTokens(g, rt.tenants, rt.pool, flags.allowed, rt.metrics); err != nil {
		return nil, err
	}
	cfg := flags.client()
	cfg.Budget, cfg.Metrics, cfg.Tokens, cfg.Health = rt.budget, rt.metrics, rt.tokens, rt.health
	rt.http, err = vendorhttp.New(cfg)
	return rt, err
}

// wakeWithin bounds the wake that a recovery brings; what is not woken is tried when it is due.
const wakeWithin = 2 * time.Second

// health notes what a vendor's answer says of an account, and after a recovery wakes what this
// process's group holds for it.
func (rt *environs) health(ctx context.Context, a tenant.Account, refused bool, cause string) {
	rt.tenants.SetHealth(ctx, a, refused, cause)
	if refused {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wakeWithin)
	defer cancel()
	for _, schema := range rt.groups {
		if _, err := ledger.Wake(ctx, rt.pool, schema, verdict.AccountScope(a.Tenant, a.Vendor, a.Name)); err != nil {
			rt.log.Warn("account.wake", observe.Err(err))
		}
	}
}

func (rt *environs) close() {
	rt.http.Close()
	rt.account.Close()
	rt.tenants.Close()
	rt.pool.Close()
	_ = rt.log.Sync() // stderr cannot always be synced
}

// serve runs the parts beside the health endpoints until one fails or ctx ends.
func (rt *environs) serve(ctx context.Context, parts []part) error {
	checks := map[string]func() error{}
	for _, p := range parts {
		if p.ready != nil {
			checks[p.name] = p.ready
		}
	}
	server, err := observe.Serve(ctx, rt.flags.Listen, rt.metrics, checks)
	if err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		rt.fleet.Beat(ctx, fleet.Self(rt.name, reachable(server.Addr()), build()), rt.log)
	}()
	rt.log.Info("stage.started", zap.String("http", server.Addr()))
	ended := make(chan error, len(parts))
	for _, p := range parts {
		go func() {
			if err := p.run(ctx); err != nil {
				ended <- fmt.Errorf("running %s: %w", p.name, err)
				return
			}
			ended <- nil
		}()
	}
	var first error
	for range parts {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
		cancel() // a stage is whole or not at all
	}
	<-beats
	return first
}

// group lists the group and returns its engine's settings.
func (rt *environs) group(ctx context.Context, name string, topics []string, keyed bool) (stream.Config, error) {
	err := rt.fleet.Join(ctx, fleet.Group{Name: name, Schema: name, Topics: topics, Keyed: keyed})
	rt.groups = append(rt.groups, name)
	return stream.Config{
		Group: name, Topics: topics, Prefix: rt.g.TopicPrefix, InstanceID: rt.flags.InstanceID,
	}, err
}

func (rt *environs) deps() stream.Deps {
	return stream.Deps{Kafka: rt.kafka, Pool: rt.pool, Codec: rt.codec, Log: rt.log, Metrics: rt.metrics}
}
