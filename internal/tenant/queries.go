package tenant

// Primary keys serve all of them but where said. Every write is of a state, so that a replay writes
// the same again; those that move tenant_change more often than needed cost readers one look.
const (
	sqlChange = `
SELECT n FROM {schema}.tenant_change`

	sqlChanged = `
UPDATE {schema}.tenant_change SET n = n + 1`

	sqlTenants = `
SELECT id, name, time_zone, paused_at, pseudonym_key, version
  FROM {schema}.tenant
 ORDER BY id`

	sqlAccounts = `
SELECT a.tenant, a.vendor, a.name, a.external_id, a.base_url, a.settings, a.paused_at, a.created_at,
       a.refused, a.cause, a.health_since, a.checked_at,
       c.sealed, c.access_token, c.refresh_token, c.expires_at
  FROM {schema}.account a
  LEFT JOIN {schema}.credential c ON (c.tenant, c.vendor, c.account) = (a.tenant, a.vendor, a.name)
 ORDER BY a.tenant, a.vendor, a.name`

	sqlAdapters = `
SELECT tenant, destination, account, effects_from, paused, settings, removed_at IS NOT NULL
  FROM {schema}.adapter`

	sqlEndpoints = `
SELECT tenant, vendor, account, token, token_sha256
  FROM {schema}.webhook_endpoint`

	sqlWebhookKeys = `
SELECT vendor, tenant, account, id, sealed, not_before, not_after
  FROM {schema}.webhook_key
 ORDER BY vendor, tenant, account, id`

	// One apply at a time; the lock ends with its transaction.
	sqlApplyLock = `
SELECT pg_advisory_xact_lock(hashtextextended('conveyance.tenant.' || $1, 0))`

	sqlPutTenant = `
INSERT INTO {schema}.tenant (id, name, time_zone, pseudonym_key, version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE
   SET name = EXCLUDED.name, time_zone = EXCLUDED.time_zone, version = EXCLUDED.version`

	sqlPutAccount = `
INSERT INTO {schema}.account (tenant, vendor, name, external_id, base_url, settings)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, vendor, name) DO UPDATE
   SET external_id = EXCLUDED.external_id, base_url = EXCLUDED.base_url, settings = EXCLUDED.settings`

	// Its keys have no foreign key: those of a whole system belong to no account.
	sqlDropAccount = `
WITH keys AS (DELETE FROM {schema}.webhook_key WHERE tenant = $1 AND vendor = $2 AND account = $3)
DELETE FROM {schema}.account WHERE tenant = $1 AND vendor = $2 AND name = $3`

	// Only for an account without an address that opens; applies are one at a time.
	sqlPutEndpoint = `
INSERT INTO {schema}.webhook_endpoint (tenant, vendor, account, token, token_sha256)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, vendor, account) DO UPDATE
   SET token = EXCLUDED.token, token_sha256 = EXCLUDED.token_sha256, created_at = now()`

	sqlPutWebhookKey = `
INSERT INTO {schema}.webhook_key (vendor, tenant, account, id, sealed, source, not_before, not_after, updated_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (vendor, tenant, account, id) DO UPDATE
   SET sealed = EXCLUDED.sealed, source = EXCLUDED.source, not_before = EXCLUDED.not_before,
       not_after = EXCLUDED.not_after, updated_by = EXCLUDED.updated_by, updated_at = now()`

	//nolint:gosec // G101: a statement, not a secret
	sqlDropWebhookKey = `
DELETE FROM {schema}.webhook_key WHERE vendor = $1 AND tenant = $2 AND account = $3 AND id = $4`

	// Another credential starts without the old one's tokens.
	//nolint:gosec // G101: a statement, not a secret
	sqlPutCredential = `
INSERT INTO {schema}.credential (tenant, vendor, account, sealed, source)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, vendor, account) DO UPDATE
   SET sealed = EXCLUDED.sealed, source = EXCLUDED.source, updated_at = now(),
       access_token = NULL, refresh_token = NULL, expires_at = NULL`

	sqlPutAdapter = `
INSERT INTO {schema}.adapter (tenant, destination, account, effects_from, paused, settings)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, destination) DO UPDATE
   SET account = EXCLUDED.account, effects_from = EXCLUDED.effects_from, paused = EXCLUDED.paused,
       settings = EXCLUDED.settings, removed_at = NULL`

	sqlDropAdapter = `
UPDATE {schema}.adapter SET removed_at = now() WHERE tenant = $1 AND destination = $2`

	sqlPutConfig = `
INSERT INTO {schema}.tenant_config (tenant, version, by, config)
VALUES ($1, $2, $3, $4)`

	// since moves only where the state does; the row is left alone where it says the same already
	// within a second, since many calls fail together.
	sqlHealth = `
UPDATE {schema}.account
   SET refused = $4, cause = $5, checked_at = now(),
       health_since = CASE WHEN refused = $4 THEN health_since ELSE now() END
 WHERE tenant = $1 AND vendor = $2 AND name = $3
   AND (refused <> $4 OR cause <> $5 OR checked_at < now() - interval '1 second')`

	sqlPauseTenant = `
UPDATE {schema}.tenant
   SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, now()) END, paused_by = CASE WHEN $2 THEN $3 END
 WHERE id = $1`

	sqlPauseAccount = `
UPDATE {schema}.account
   SET paused_at = CASE WHEN $4 THEN coalesce(paused_at, now()) END, paused_by = CASE WHEN $4 THEN $5 END
 WHERE tenant = $1 AND vendor = $2 AND name = $3`

	// FOR UPDATE of this row alone: nothing that an apply locks in another order.
	//nolint:gosec // G101: a statement, not a secret
	sqlLockCredential = `
SELECT sealed, access_token, refresh_token, expires_at
  FROM {schema}.credential
 WHERE tenant = $1 AND vendor = $2 AND account = $3
   FOR UPDATE`

	// Only over what was used to get them: a second write of the same, or one that comes after another
	// credential or other tokens, changes nothing.
	//nolint:gosec // G101: a statement, not a secret
	sqlPutTokens = `
UPDATE {schema}.credential
   SET access_token = $4, refresh_token = $5, expires_at = $6, updated_at = now()
 WHERE tenant = $1 AND vendor = $2 AND account = $3
   AND sealed = $7 AND refresh_token IS NOT DISTINCT FROM $8`

	//nolint:gosec // G101: a statement, not a secret
	sqlHasTokens = `
SELECT EXISTS (SELECT FROM {schema}.credential WHERE (tenant, vendor, account) = ($1, $2, $3) AND access_token = $4)`

	sqlLockAccount = `
SELECT FROM {schema}.account WHERE tenant = $1 AND vendor = $2 AND name = $3 FOR UPDATE`

	sqlRefuse = `
UPDATE {schema}.account a
   SET refused = true, cause = $4, checked_at = now(),
       health_since = CASE WHEN a.refused THEN a.health_since ELSE now() END
  FROM {schema}.credential c
 WHERE (a.tenant, a.vendor, a.name) = ($1, $2, $3)
   AND (c.tenant, c.vendor, c.account) = (a.tenant, a.vendor, a.name)
   AND c.sealed = $5 AND c.refresh_token IS NOT DISTINCT FROM $6`

	// The account's index finds those that ended.
	sqlBeginFlow = `
WITH ended AS (
  DELETE FROM {schema}.oauth_flow
   WHERE (tenant, vendor, account) = ($2, $3, $4) AND expires_at < now() - interval '1 day'
)
INSERT INTO {schema}.oauth_flow (state_sha256, tenant, vendor, account, verifier, redirect, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))`

	sqlTakeFlow = `
UPDATE {schema}.oauth_flow SET used_at = now()
 WHERE state_sha256 = $1 AND vendor = $2 AND used_at IS NULL AND expires_at > now()
RETURNING tenant, account, verifier, redirect`

	sqlEndFlow = `
UPDATE {schema}.oauth_flow SET ended_at = now(), outcome = $2
 WHERE state_sha256 = $1 AND used_at IS NOT NULL AND ended_at IS NULL`

	// A minute more than the person has: what began in time may end.
	sqlFlow = `
SELECT ended_at IS NOT NULL, outcome
  FROM {schema}.oauth_flow
 WHERE state_sha256 = $1 AND (ended_at IS NOT NULL OR expires_at > now() - interval '1 minute')`
)
