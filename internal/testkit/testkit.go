package testkit

import "time"

const (
	// Patience is how long a test waits for what must happen before it fails: long enough for a
	// loaded machine, since no test passes by the clock.
	Patience = 30 * time.Second
	// Look is how often a waiting test looks.
	Look = 10 * time.Millisecond
)
