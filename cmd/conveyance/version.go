package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Help is shown by version --help.
func (versionCmd) Help() string { return "Example: conveyance version --json" }

// build says which source this binary was made from.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

// Run prints the version.
func (versionCmd) Run(g *globals) error {
	v := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
	}{build(), runtime.Version()}
	return g.print(v, func(w io.Writer) { _, _ = fmt.Fprintf(w, "conveyance %s (%s)\n", v.Version, v.Go) })
}
