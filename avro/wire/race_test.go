//go:build race

package wire

// slowness divides the samples of tests that look for faults, not for races, and multiplies the time
// they may take: the race detector makes codecs, which read memory unsafely, ten times as slow.
const slowness = 5
