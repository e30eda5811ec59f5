package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"conveyance/internal/verdict"
)

// IsUnknownCommit is true where a transaction may or may not have been committed: the COMMIT was
// sent and no clear answer came. The same transaction, with the same number, is safe to repeat
// (protocol.md 6).
func IsUnknownCommit(err error) bool {
	if _, ok := errors.AsType[*commitError](err); !ok {
		return false
	}
	if _, answered := errors.AsType[*pgconn.PgError](err); answered {
		return false
	}
	return !pgconn.SafeToRetry(err)
}

// Classify marks an error of a statement with its verdict: connection and resource failures,
// deadlocks and timeouts are retries; bad values and broken constraints park (idempotent writes use
// ON CONFLICT, so a unique violation is a real conflict); a missing table or column stalls, since a
// migration is missing and no record is to blame. Other errors stay as they are.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, marked := errors.AsType[*verdict.Error](err); marked {
		return err
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if _, connect := errors.AsType[*pgconn.ConnectError](err); connect {
			return verdict.Stalled("postgres unreachable", err)
		}
		return err
	}
	switch {
	case pg.Code == "40001", pg.Code == "40P01", pg.Code == "55P03", pg.Code == "57014", pg.Code == "25P03":
		return verdict.RetryAfter(0, "postgres busy", err)
	case pg.Code[:2] == "08", pg.Code[:2] == "53", pg.Code[:3] == "57P":
		return verdict.Stalled("postgres unavailable", err)
	case pg.Code[:2] == "22", pg.Code[:2] == "23":
		return verdict.Parked("postgres refused the value", err)
	case pg.Code[:2] == "42":
		return verdict.Stalled("postgres schema is not as this build expects: run conveyance migrate", err)
	}
	return err
}
