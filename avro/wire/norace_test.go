//go:build !race

package wire

const slowness = 1
