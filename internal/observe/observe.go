// Package observe is how every process speaks: zap with fixed field names, Prometheus metrics, and
// the health and metrics endpoints. Bodies, secrets and personal data are never logged; keys of
// resources and pseudonyms are.
package observe

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes JSON lines to stderr, with the component on each. level is debug, info, warn or
// error.
func NewLogger(component, level string) (*zap.Logger, error) {
	lvl, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(lvl)
	cfg.Sampling = nil // one line per outcome is already rare; a sampled line is a lost one
	cfg.DisableStacktrace = true
	cfg.EncoderConfig.TimeKey = "at"
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	log, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("building the logger: %w", err)
	}
	return log.With(zap.String("component", component)), nil
}

// The fields, once, so that a search for a tenant or a partition finds every line.

// Tenant is the brokerage's id.
func Tenant(id string) zap.Field { return zap.String("tenant", id) }

// Account is tenant/vendor/name.
func Account(key string) zap.Field { return zap.String("account", key) }

// Topic is the topic without prefix.
func Topic(name string) zap.Field { return zap.String("topic", name) }

// Partition is the partition's number.
func Partition(p int32) zap.Field { return zap.Int32("partition", p) }

// Offset is the record's offset.
func Offset(o int64) zap.Field { return zap.Int64("offset", o) }

// EventID is the event's id.
func EventID(id string) zap.Field { return zap.String("event_id", id) }

// Key is the record's key: a resource, a deal key or a pseudonym.
func Key(k string) zap.Field { return zap.String("key", k) }

// Attempt counts from 1.
func Attempt(n int) zap.Field { return zap.Int("attempt", n) }

// Cause is a verdict's stable text.
func Cause(c string) zap.Field { return zap.String("cause", c) }

// Duration is a time in milliseconds.
func Duration(d time.Duration) zap.Field {
	return zap.Float64("duration_ms", float64(d.Microseconds())/1000)
}

// Err is an error without its stack.
func Err(err error) zap.Field { return zap.NamedError("error", err) }
