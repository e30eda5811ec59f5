package main

import (
	"cmp"
	"context"
	"net/http"

	"go.uber.org/zap"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/observe"
	"conveyance/internal/stream"
	"conveyance/producers/ingest"
)

type ingestCmd struct {
	allowed
	Listen       string `env:"CONVEYANCE_LISTEN" help:"Address of the door, and of /healthz, /readyz and /metrics." default:"127.0.0.1:8080"`
	HealthListen string `env:"CONVEYANCE_HEALTH_LISTEN" help:"Another address of /healthz, /readyz and /metrics, by which status finds the process." default:"127.0.0.1:0"`
	SealingKey   string `env:"CONVEYANCE_SEALING_KEY" help:"File of the key that opens the stored credentials: without it no signature is accepted." placeholder:"FILE" type:"path"`
	SchemaCache  string `env:"CONVEYANCE_SCHEMA_CACHE" help:"File that keeps schema ids over a restart, so that the stage starts while the registry is down." placeholder:"FILE" type:"path"`
}

// Help is shown by ingest --help.
func (ingestCmd) Help() string {
	return `It speaks plain HTTP: something before it ends TLS, and lets the world reach /in/ and /oauth/ alone.

Example: conveyance ingest --listen 127.0.0.1:8080 --public-url https://hooks.example.com`
}

// Run runs the stage until ctx ends.
func (c *ingestCmd) Run(ctx context.Context, g *globals) error {
	own := stageFlags{ // the port of its own that every stage has, by which status finds it
		allowed: c.allowed, Listen: c.HealthListen, SealingKey: c.SealingKey, SchemaCache: c.SchemaCache,
	}
	g.PublicURL = cmp.Or(g.PublicURL, "http://"+c.Listen) // who listens on a port of its own choice has given it
	return runStage(ctx, g, own, "ingest", []string{ingest.Schema}, c.build)
}

func (c *ingestCmd) build(ctx context.Context, rt *environs) ([]part, error) {
	publisher, err := stream.NewPublisher(rt.g.TopicPrefix, rt.deps())
	if err != nil {
		return nil, err
	}
	door, err := ingest.New(ingest.Config{}, ingest.Deps{
		Pool: rt.pool, Endpoints: rt.tenants, Tenants: rt.tenants, Vendors: vendors(rt.http),
		Publish: webhooks{publisher}, Log: rt.log, Metrics: rt.metrics,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/in/", door.Handler())
	mux.Handle("/oauth/{vendor}/callback", rt.tokens.Callback(rt.log))
	health := observe.Handler(rt.metrics, map[string]func() error{"door": door.Ready})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle(path, health)
	}
	server, err := ingest.Listen(ctx, c.Listen, mux, rt.log)
	if err != nil {
		return nil, err
	}
	rt.log.Info("door.open", zap.String("http", server.Addr()), zap.String("public", rt.g.PublicURL))
	return []part{{"door", func(ctx context.Context) error {
		defer publisher.Close()
		return door.Run(ctx, server.Run)
	}, door.Ready}}, nil
}

// webhooks puts deliveries on their vendor's topic.
type webhooks struct{ publisher *stream.Publisher }

// Publish implements ingest.Publisher.
func (w webhooks) Publish(ctx context.Context, key string, m *event.WebhookReceived, done func(error)) error {
	return w.publisher.Send(ctx, stream.Out{Topic: topic.Webhooks(m.Vendor), Key: []byte(key), Message: m}, done)
}
