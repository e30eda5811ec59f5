package event

// Headers of a snapshot's record that say what led to the reading. They are not part of the snapshot,
// which is the fact alone; a record without them is one that nobody asked for.
const (
	// HeaderHintBy is poll, webhook, or an operator's reason.
	HeaderHintBy = "ce_hintby"
	// HeaderHintTime is when the hint came, RFC 3339 in UTC, on our clock; of several, the first.
	HeaderHintTime = "ce_hinttime"
)
