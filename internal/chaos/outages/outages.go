// Package outages is the lanes of the fault lab in which the world around the processes breaks: a pair
// of Postgres servers that fails over, with its promise kept and broken, and cables that are cut. The
// lanes are its tests; each runs where the environment says how often (Taskfile.yml: chaos:postgres,
// chaos:network).
package outages
