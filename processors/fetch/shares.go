package fetch

import "slices"

// perAccountMax is how many rows of one account a process reads at once: a slow account may keep these
// slots busy, and no more.
const perAccountMax = 4

// fair deals free slots out to accounts: one row each, around and around, live before backfill, going
// on behind the account that was served last. It never gives an account more than perAccountMax rows
// at once, one that was held when it was last called more than one, or backfill more than backfillFree of
// the slots.
type fair struct {
	busy         map[string]int // rows in hand, by account
	wary         map[string]bool
	after        map[lane]string
	free         int
	backfillFree int
}

// deal returns the shares, and remembers in after whom it served last. due is sorted by lane and
// account, as the store lists it.
func (f fair) deal(due []waiting) []share {
	var shares []share
	for _, l := range []lane{live, backfill} {
		queue := rotated(due, l, f.after[l])
		slots := f.free
		if l == backfill {
			slots = min(slots, f.backfillFree)
		}
		given := make([]int, len(queue))
		for served := true; served && slots > 0; {
			served = false
			for i, w := range queue {
				if slots == 0 || given[i] == w.rows || f.busy[w.key()] >= f.most(w.key()) {
					continue
				}
				given[i]++
				f.busy[w.key()]++
				f.after[l] = w.key()
				slots--
				f.free--
				served = true
			}
		}
		for i, w := range queue {
			if given[i] > 0 {
				shares = append(shares, share{w.account, l, given[i]})
			}
		}
	}
	return shares
}

// most is how many rows of an account may be in hand: what its hold made wait does not come all at once
// to a vendor that may refuse it again.
func (f fair) most(account string) int {
	if f.wary[account] {
		return 1
	}
	return perAccountMax
}

// rotated are the accounts that wait in a lane, those behind the last one first.
func rotated(due []waiting, l lane, last string) []waiting {
	var queue []waiting
	for _, w := range due {
		if w.lane == l {
			queue = append(queue, w)
		}
	}
	i := slices.IndexFunc(queue, func(w waiting) bool { return w.key() > last })
	if i <= 0 {
		return queue
	}
	return append(slices.Clone(queue[i:]), queue[:i]...)
}
