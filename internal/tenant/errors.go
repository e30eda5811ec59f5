package tenant

import "errors"

// ErrUnknown means that no tenant has this id.
var ErrUnknown = errors.New("no such tenant: conveyance tenant list shows them")
