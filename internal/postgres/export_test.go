package postgres

// CommitError wraps an error as Tx does where the COMMIT failed.
func CommitError(err error) error { return &commitError{err} }
