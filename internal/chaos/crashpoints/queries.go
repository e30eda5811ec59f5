package crashpoints

// All of these run in a database of the lab's own, on small tables, once a round.
const (
	sqlEpochs = `SELECT coalesce(sum(epoch), 0) FROM {schema}.consumer_offsets`

	sqlPlace = `SELECT topic, part FROM {schema}.consumer_offsets ORDER BY topic, part OFFSET $1 % greatest(1, (SELECT count(*) FROM {schema}.consumer_offsets)) LIMIT 1`

	sqlUnknown = `SELECT count(*) FROM followupboss.ledger WHERE state = 5`

	// What a dead process had leased, and whatever else is leased: its holder loses it as if it had slept.
	// A stand-in polls as rarely as the vendor likes; the lane's own period begins anew.
	sqlExpireReads = `UPDATE "fetch".resource SET lease_until = now(), not_before = now() WHERE lease_until > now()`
	sqlExpirePolls = `UPDATE "fetch".poll SET lease_until = now(), due = now()`
)
