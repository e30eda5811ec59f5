// Package e2e is the whole path in one test: the binary that people run, simulated vendors, every
// stage as a process, killed and frozen at random, judged against a model that shares no code with
// the product. It has no code of its own but its judge.
package e2e
