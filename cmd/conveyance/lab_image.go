//go:build image

package main

// lab is empty: see lab.go.
type lab struct{}
