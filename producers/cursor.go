package producers

import (
	"encoding/json"
	"fmt"
	"time"

	"conveyance/internal/tenant"
)

// CursorOf writes down where a poller of an account stands.
func CursorOf(a tenant.Account, state any) (Cursor, error) {
	text, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("writing the cursor of %s: %w", a.Key(), err)
	}
	return Cursor(text), nil
}

// Later returns the later of two instants.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
