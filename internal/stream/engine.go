package stream

import "context"

// NewBatch returns an engine that runs a batch handler.
func NewBatch(cfg Config, deps Deps, h BatchHandler) (*Engine, error) { return &Engine{}, nil }

// NewKeyed returns an engine that runs a keyed handler.
func NewKeyed(cfg Config, deps Deps, h KeyedHandler) (*Engine, error) { return &Engine{}, nil }

// Run runs the engine until ctx ends, then lets what is in flight finish.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Ready returns why the engine is not working on all of its partitions, nil where it is.
func (e *Engine) Ready() error { return nil }
