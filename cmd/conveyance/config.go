package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

type configCmd struct{}

// Help is shown by config --help.
func (configCmd) Help() string {
	return "Each setting is a flag or an environment variable; a running up in --dir fills what is not given.\n\nExample: conveyance config --json"
}

// setting is one effective setting.
type setting struct {
	Name  string `json:"name"`
	Env   string `json:"env"`
	Value string `json:"value"`
}

// Run prints what every command would work with, secrets masked: first what all share, then what the
// environment or a default gives to some.
func (configCmd) Run(g *globals, k *kong.Context) error {
	if err := g.resolve(0); err != nil {
		return err
	}
	settings := []setting{
		{"kafka", "CONVEYANCE_KAFKA", g.Kafka},
		{"registry", "CONVEYANCE_REGISTRY", masked(g.RegistryURL)},
		{"postgres", "CONVEYANCE_POSTGRES", masked(g.PostgresURL)},
		{"public-url", "CONVEYANCE_PUBLIC_URL", g.PublicURL},
		{"topic-prefix", "CONVEYANCE_TOPIC_PREFIX", g.TopicPrefix},
		{"dir", "CONVEYANCE_DIR", g.Dir},
		{"log-level", "CONVEYANCE_LOG_LEVEL", g.LogLevel},
	}
	settings = append(settings, g.settings()...)
	for _, node := range k.Model.Leaves(true) {
		for _, f := range node.Flags {
			for _, env := range f.Envs {
				if slices.ContainsFunc(settings, func(s setting) bool { return s.Env == env }) {
					continue
				}
				value, set := os.LookupEnv(env)
				if !set {
					value = f.Default
				}
				settings = append(settings, setting{f.Name, env, value})
			}
		}
	}
	if g.JSON {
		return printLines(g, settings)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		for _, s := range settings {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Value, s.Env)
		}
	})
}

// masked hides the password of a URL.
func masked(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// table aligns tab-separated lines.
func table(out io.Writer, fill func(*tabwriter.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fill(w)
	return w.Flush()
}
