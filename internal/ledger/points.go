package ledger

import (
	"errors"

	"conveyance/internal/fault"
	"conveyance/internal/postgres"
)

// begins is the crash points before a turn, by what it holds.
func (t *Turn) begins() (err error) {
	if !fault.Compiled {
		return nil
	}
	if len(t.Wants) > 0 {
		err = errors.Join(err, fault.At("claim.before"))
	}
	if len(t.Ends) > 0 {
		err = errors.Join(err, fault.At("result.before"))
	}
	if len(t.Records) > 0 {
		err = errors.Join(err, fault.At("park.before"))
	}
	if len(t.Marks) > 0 {
		err = errors.Join(err, fault.At("release.before"))
	}
	return errors.Join(err, fault.At("offset.before"))
}

// ended is those after it is committed. What goes wrong there looks to the owner as if the answer to
// the COMMIT were lost.
func (t *Turn) ended() (err error) {
	if !fault.Compiled {
		return nil
	}
	if len(t.Wants) > 0 {
		err = errors.Join(err, fault.At("claim.after"))
	}
	if len(t.Ends) > 0 {
		err = errors.Join(err, fault.At("result.after"))
	}
	if len(t.Records) > 0 {
		err = errors.Join(err, fault.At("park.after"))
	}
	if len(t.Marks) > 0 {
		err = errors.Join(err, fault.At("release.after"))
	}
	if err = errors.Join(err, fault.At("offset.after")); err != nil {
		return postgres.Unanswered(err)
	}
	return nil
}
