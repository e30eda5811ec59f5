package postgres

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
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
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return false
	}
	if pg, answered := errors.AsType[*pgconn.PgError](err); answered {
		// A server or pooler that went away in the middle says so with these, not what became of it.
		return hasClass(pg.Code, "08", "57P") || pg.Code == "40003"
	}
	return true
}

// Classify marks an error of a statement with its verdict. Other errors stay as they are, a lost
// connection among them: an unmarked error is a retry, and an unknown commit has a rule of its own.
//
//	40001 40P01 55P03 57014 25P03 0A000   retry: deadlock, timeout, plan of an old schema
//	08 53 57P 25006, no connection        stall: Postgres is away, full, or a standby
//	42 3F                                 stall: a migration is missing, no record is to blame
//	22 23                                 park: idempotent writes use ON CONFLICT, so a unique
//	                                      violation is a real conflict
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
	case hasClass(pg.Code, "40001", "40P01", "55P03", "57014", "25P03", "0A000"):
		return verdict.RetryAfter(0, "postgres busy", err)
	case hasClass(pg.Code, "08", "53", "57P", "25006"):
		return verdict.Stalled("postgres unavailable", err)
	case hasClass(pg.Code, "22", "23"):
		return verdict.Parked("postgres refused the value", err)
	case hasClass(pg.Code, "42", "3F"):
		return verdict.Stalled("postgres schema is not as this build expects: run conveyance migrate", err)
	}
	return err
}

func hasClass(code string, classes ...string) bool {
	return slices.ContainsFunc(classes, func(c string) bool { return strings.HasPrefix(code, c) })
}
