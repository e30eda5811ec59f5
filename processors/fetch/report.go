package fetch

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"conveyance/internal/observe"
	"conveyance/internal/verdict"
)

// report writes the one line of a fetch.
func (f *Fetch) report(j job, end ending, began time.Time) {
	level := zapcore.DebugLevel
	switch end.outcome {
	case outcomeRetry, outcomeHold, outcomeStall, outcomeStale:
		level = zapcore.InfoLevel
	case outcomePark:
		level = zapcore.WarnLevel
	}
	entry := f.log.Check(level, "fetch."+end.outcome)
	if entry == nil {
		return
	}
	fields := []zap.Field{
		observe.Tenant(j.resource.Tenant), observe.Key(j.resource.Key()),
		observe.Attempt(end.attempts + 1), observe.Duration(f.cfg.Now().Sub(began)),
	}
	if end.err != nil {
		fields = append(fields, observe.Cause(verdict.Of(end.err).Cause), observe.Err(end.err))
	}
	entry.Write(fields...)
}
