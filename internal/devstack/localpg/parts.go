package localpg

import (
	"context"
	"syscall"
)

// Binaries returns the folder of initdb and postgres that Start would use, for those who start servers
// in another way. Only an installed one has pg_basebackup and pg_rewind.
func Binaries(ctx context.Context) (string, error) { return binaries(ctx, Options{}) }

// Account is the account that must run Postgres: nil for one's own, another as root.
func Account() (*syscall.Credential, error) { return unprivileged() }
