package fault

// Points are the names of all crash points, in the order of the data. A test holds the code to them:
// each stands in it, and no other.
func Points() []string {
	return []string{
		"start", // a stage, before it opens anything
		// The door.
		"ingest.read.before", "ingest.verify.before", "ingest.produce.before",
		"ingest.ack.before", "ingest.answer.before", "ingest.answer.after",
		// Polls and reads.
		"poll.before", "poll.published", "poll.after",
		"fetch.before", "fetch.after", "fetch.published",
		"limiter.before", "limiter.after",
		// The engine's session.
		"session.open", "assign.before", "assign.after", "revoke.before", "revoke.after",
		"mirror.before", "mirror.after",
		// A record of a batch.
		"decode", "produce.before", "produce.after",
		// A record of a key.
		"call.before", "call.after",
		// A numbered transaction, by what it holds.
		"claim.before", "claim.after", "result.before", "result.after",
		"offset.before", "offset.after",
		"park.before", "park.after", "release.before", "release.after",
		// Any transaction.
		"commit.before", "commit.after",
	}
}
