//go:build !image

package main

// lab are the commands that try the product on an engineer's machine. A container's image, which is
// built with the tag image and must stay small, has none of them.
type lab struct {
	Chaos chaosCmd `cmd:"" help:"Kill processes at random under simulated load, and judge what became of it."`
	Bench benchCmd `cmd:"" help:"Print each benchmark with its bare ceiling, measured in the same run."`
}
