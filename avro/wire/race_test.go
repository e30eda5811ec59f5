//go:build race

package wire

// slowness divides the samples of tests that look for faults, not for races, where each costs ten
// times as much.
const slowness = 5
