// Package ledger is the engine's memory in Postgres: offsets with their owner tokens, effects and
// their end states, revision guards, the held queue, and evidence of calls. One Postgres schema per
// consumer group holds all of it; dropping the schema forgets the group. It knows no Kafka client
// and calls nobody: internal/stream obeys protocol.md with it, and operators read and release
// through it.
package ledger
