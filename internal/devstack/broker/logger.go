package broker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"conveyance/internal/observe"
)

// troubleEvery keeps a full disk from filling what is left of it with lines.
const troubleEvery = 10 * time.Second

// logger passes on what kfake warns of. kfake answers a client whose batch the disk refused with
// UNKNOWN_SERVER_ERROR and tells the reason here only.
type logger struct {
	opts Options

	mu   sync.Mutex
	next time.Time // of the next word about trouble
}

func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelNone || level > kfake.LogLevelWarn {
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok && errors.Is(err, syscall.ENOSPC) {
			l.trouble(explain(l.opts, err))
			return
		}
	}
	l.opts.Log.Warn("broker.warns", zap.String("detail", fmt.Sprintf(format, args...)))
}

func (l *logger) trouble(err error) {
	l.mu.Lock()
	quiet := time.Now().Before(l.next)
	if !quiet {
		l.next = time.Now().Add(troubleEvery)
	}
	l.mu.Unlock()
	if quiet {
		return
	}
	l.opts.Log.Error("broker.disk", observe.Err(err))
	if l.opts.Trouble != nil {
		l.opts.Trouble(err)
	}
}
