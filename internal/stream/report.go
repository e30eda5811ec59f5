package stream

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"conveyance/avro/event"
	"conveyance/internal/observe"
	"conveyance/internal/verdict"
)

// behind is the cause of a record that waits behind another of its key.
const behind = "behind"

// levels of the one line per record: what a person must see, should see, and could look for.
var levels = map[verdict.Kind]zapcore.Level{
	verdict.Done: zap.DebugLevel, verdict.Skip: zap.DebugLevel,
	verdict.Retry: zap.InfoLevel, verdict.Doubt: zap.InfoLevel, verdict.Hold: zap.InfoLevel,
	verdict.Park: zap.WarnLevel, verdict.Stall: zap.ErrorLevel,
}

// report counts what a record came to, and says it.
func (s *session) report(it *item, v *verdict.Error, took time.Duration) {
	s.e.m.record(v)
	s.say(it, v, took)
}

// say writes one line for what a record, or a try of it, came to.
func (s *session) say(it *item, v *verdict.Error, took time.Duration) {
	kind := verdict.Done
	if v != nil {
		kind = v.Kind
	}
	level := levels[kind]
	if v != nil && v.Cause == behind {
		level = zap.DebugLevel
	}
	line := s.e.deps.Log.Check(level, "record."+kind.String())
	if line == nil {
		return
	}
	fields := append(placeOf(it), observe.Attempt(it.Attempt), observe.Duration(took))
	if v != nil {
		fields = append(fields, observe.Cause(v.Cause))
		if v.Err != nil {
			fields = append(fields, observe.Err(v.Err))
		}
	}
	line.Write(fields...)
}

func placeOf(it *item) []zap.Field {
	fields := []zap.Field{
		observe.Tenant(it.tenant), observe.Topic(it.Topic), observe.Partition(it.Partition),
		observe.Offset(it.Offset), observe.Key(it.keyID),
	}
	if e, ok := it.Message.(event.Event); ok {
		fields = append(fields, observe.EventID(e.Source().EventID))
	}
	return fields
}
