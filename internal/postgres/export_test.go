package postgres

import "testing"

// CommitError wraps an error as Tx does where the COMMIT failed.
func CommitError(err error) error { return &commitError{err} }

// UseServer tells the package's inner tests which server they may use.
func UseServer(url func(testing.TB) string) { testURL = url }
