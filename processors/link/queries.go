package link

const (
	// commonMax is how many deals may share one claim before it says nothing of any of them: a builder's
	// or a manager's address is in hundreds of deals.
	commonMax = 200
	// claimsOfDealMax bounds what is read of one deal: claimsMax of each of the five kinds.
	claimsOfDealMax = 5 * claimsMax
)

const (
	// Primary keys, one descent each. It only reads.
	sqlLinks = `
SELECT u.resource, COALESCE(a.seq, 0), d.seq, d.deal_key, d.rung, d.evidence, d.actor, d.reason, d.at
  FROM unnest($1::text[]) AS u(resource)
  LEFT JOIN {schema}.link_acted a ON a.resource = u.resource
 CROSS JOIN LATERAL (SELECT seq, deal_key, rung, evidence, actor, reason, at
                       FROM {schema}.link_decision d
                      WHERE d.resource = u.resource AND d.seq >= COALESCE(a.seq, 0)
                      ORDER BY d.seq) d`

	// The index on claim, then that on deal_key; a limit makes each a descent. It only reads.
	sqlFind = `
WITH hit AS (
  SELECT DISTINCT d.deal_key
    FROM unnest($1::text[], $2::text[]) AS u(tenant, claim)
   CROSS JOIN LATERAL (SELECT deal_key FROM {schema}.deal_claim d
                        WHERE d.claim = u.claim AND d.tenant = u.tenant
                        LIMIT $3) d)
SELECT c.tenant, h.deal_key, c.kind, c.claim
  FROM hit h
 CROSS JOIN LATERAL (SELECT tenant, kind, claim FROM {schema}.deal_claim c
                      WHERE c.deal_key = h.deal_key
                      LIMIT $4) c`

	// Primary key. The register is written once: who comes second changes nothing, and reads what stands.
	sqlDecide = `
INSERT INTO {schema}.link_decision (resource, seq, tenant, deal_key, rung, evidence, actor, reason, at)
SELECT resource, seq, tenant, NULLIF(deal_key, ''), rung, evidence, actor, reason, date_trunc('milliseconds', now())
  FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
       AS u(resource, seq, tenant, deal_key, rung, evidence, actor, reason)
 ORDER BY resource, seq
ON CONFLICT (resource, seq) DO NOTHING`
)

// What goes with the offset. Each runs behind its compare (protocol.md 5, 9): no other owner replays it,
// and the same owner writes the same again.
const (
	// Those who write deals' claims share the lock of a tenant, so that they do not wait for each other;
	// who begins to wait takes it alone. It ends with the transaction.
	sqlShare = `
SELECT pg_advisory_xact_lock_shared(k)
  FROM (SELECT hashtextextended('{schema}.link.' || tenant, 0) AS k
          FROM unnest($1::text[]) AS u(tenant)
         ORDER BY 1) l`

	// As sqlShare, alone.
	sqlAlone = `
SELECT pg_advisory_xact_lock(k)
  FROM (SELECT hashtextextended('{schema}.link.' || tenant, 0) AS k
          FROM unnest($1::text[]) AS u(tenant)
         ORDER BY 1) l`

	// Until the end of the transaction, or of the savepoint.
	sqlPatience = `SELECT set_config('lock_timeout', $1, true)`

	// The index on deal_key, and that of waiting_claim. What a deal claimed goes first. It returns whom
	// that may concern: who shares a claim that the deal makes now, or made.
	sqlClaimsGone = `
WITH gone AS (
  DELETE FROM {schema}.deal_claim WHERE deal_key = ANY($1) RETURNING tenant, claim)
SELECT DISTINCT w.resource
  FROM (SELECT tenant, claim FROM gone
        UNION
        SELECT * FROM unnest($2::text[], $3::text[])) c
  JOIN {schema}.waiting_claim w ON w.claim = c.claim AND w.tenant = c.tenant
  JOIN {schema}.link_wait l ON l.resource = w.resource
 WHERE NOT l.undone`

	// No unique index: that would be a third of the time. Behind the compare it comes once (protocol.md 5).
	sqlClaims = `
INSERT INTO {schema}.deal_claim (tenant, claim, kind, deal_key)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])`

	// Primary key. since stays that of the first wait.
	sqlWait = `
INSERT INTO {schema}.link_wait (resource, tenant, undone)
SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[])
ON CONFLICT (resource) DO UPDATE SET undone = EXCLUDED.undone`

	// Primary key. What it claims no longer goes first.
	sqlWaitClaimsGone = `
DELETE FROM {schema}.waiting_claim w
 WHERE w.resource = ANY($1)
   AND (w.resource, w.claim) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))`

	// Primary key.
	sqlWaitClaims = `
INSERT INTO {schema}.waiting_claim (resource, tenant, kind, claim)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (resource, claim) DO NOTHING`

	// Primary key. A number never falls.
	sqlActed = `
INSERT INTO {schema}.link_acted AS a (resource, seq)
SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (resource) DO UPDATE SET seq = EXCLUDED.seq
 WHERE a.seq < EXCLUDED.seq`

	// Primary key; the claims go with the row.
	sqlWaitOver = `
DELETE FROM {schema}.link_wait WHERE resource = ANY($1)`
)

// What operators see and do.
const (
	// Primary keys; rare. It shows what a decision is made on: the last one, and what is there.
	sqlStand = `
SELECT COALESCE(d.seq, 0), COALESCE(d.deal_key, ''), COALESCE(a.seq, 0),
       EXISTS (SELECT FROM {schema}.link_wait w WHERE w.resource = $1),
       EXISTS (SELECT FROM {schema}.translate_state s WHERE s.resource = $1 AND s.body IS NOT NULL),
       EXISTS (SELECT FROM {schema}.deal_claim c WHERE c.deal_key = $2)
  FROM (SELECT 1) one
  LEFT JOIN LATERAL (SELECT seq, deal_key FROM {schema}.link_decision
                      WHERE resource = $1 ORDER BY seq DESC LIMIT 1) d ON true
  LEFT JOIN {schema}.link_acted a ON a.resource = $1`

	// The table holds what waits, a small part of all. A record that was dropped from the queue waits
	// no longer; what was undone waits for a person, queued or not.
	sqlWaiting = `
SELECT w.resource, w.tenant, w.undone, w.since
  FROM {schema}.link_wait w
 WHERE ($1 = '' OR w.tenant = $1)
   AND ($2 = '' OR w.resource = $2)
   AND (w.undone OR EXISTS (SELECT FROM {schema}.queued_key k WHERE k.scope = 'link:' || w.resource))
 ORDER BY w.since, w.resource
 LIMIT $3`

	// Primary key.
	sqlWaitingClaims = `
SELECT resource, kind, claim FROM {schema}.waiting_claim WHERE resource = ANY($1) ORDER BY kind, claim`

	sqlColumns = `
SELECT resource, seq, COALESCE(deal_key, ''), rung, evidence, actor, reason, at`

	// Primary key.
	sqlHistory = sqlColumns + `
  FROM {schema}.link_decision WHERE resource = $1 ORDER BY seq`

	// The index on deal_key, then primary keys.
	sqlOfDeal = sqlColumns + `
  FROM {schema}.link_decision d
 WHERE deal_key = $1
   AND NOT EXISTS (SELECT FROM {schema}.link_decision n WHERE n.resource = d.resource AND n.seq > d.seq)
 ORDER BY at, resource`
)
