package chaos

// All of these run in a database of the lab's own, and read or write whole small tables.
const (
	sqlGroups = `SELECT name, schema FROM conveyance.consumer_group`

	sqlOffsets = `SELECT topic, part, next_offset FROM {schema}.consumer_offsets WHERE next_offset IS NOT NULL`

	// The person that an effect's line names by the beginning of a contact's key.
	sqlPerson = `SELECT person_id FROM followupboss.person_link WHERE tenant = $1 AND left(contact_key, 8) = $2`

	// Written as a purge writes it: the gap first, then every row that has ended.
	sqlGap = `
INSERT INTO {schema}.ledger_gap (tenant, month)
SELECT DISTINCT t.id, date_trunc('month', l.done_at)::date
  FROM {schema}.ledger l CROSS JOIN conveyance.tenant t
 WHERE l.done_at IS NOT NULL
ON CONFLICT DO NOTHING`

	sqlDrop = `DELETE FROM {schema}.ledger WHERE done_at IS NOT NULL`

	// What is to be read, and what waits in the queues of the groups that may have one.
	sqlWaiting = `
SELECT (SELECT count(*) FROM "fetch".resource WHERE dirty_since IS NOT NULL)
     + (SELECT coalesce(sum(count), 0)::bigint FROM translate.queued_key)
     + (SELECT coalesce(sum(count), 0)::bigint FROM followupboss.queued_key)`

	sqlTokens = `SELECT topic || '/' || part, owner FROM {schema}.consumer_offsets`

	// What a claim writes, with a token that nobody has.
	sqlLateClaim = `
UPDATE {schema}.consumer_offsets
   SET owner = gen_random_uuid(), epoch = epoch + 1, seq = 0, claimed_at = now()`

	sqlReadbackNow = `
WITH due AS (UPDATE {schema}.readback SET due = now() - interval '1 minute' WHERE due > now() RETURNING 1)
SELECT count(*) FROM {schema}.readback`

	sqlFlagged = `SELECT count(DISTINCT eid) FROM {schema}.call_evidence`

	sqlAsked = `SELECT count(*) FROM {schema}.queue_audit WHERE reason = 'looked in the CRM'`
)
