package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
)

type schemaCmd struct {
	Check    schemaCheckCmd    `cmd:"" help:"Hold this build's schemas against every registered version."`
	Register schemaRegisterCmd `cmd:"" help:"Register this build's schemas; the only writer of the registry."`
	List     schemaListCmd     `cmd:"" help:"List the subjects with their versions and ids."`
}

func (g *globals) registrar() (*wire.Registrar, error) {
	if err := g.resolve(needRegistry); err != nil {
		return nil, err
	}
	return wire.NewRegistrar(g.RegistryURL, g.TopicPrefix, g.topicTable(topic.PartitionsDefault))
}

type schemaCheckCmd struct{}

// Help is shown by schema check --help.
func (schemaCheckCmd) Help() string {
	return "Exit 3 where a reader would break.\n\nExample: conveyance schema check --json"
}

// Run checks.
func (schemaCheckCmd) Run(ctx context.Context, g *globals) error {
	r, err := g.registrar()
	if err != nil {
		return err
	}
	findings, err := r.Check(ctx, schema.All())
	if err != nil {
		return g.away(err, "the registry", "--registry")
	}
	for _, f := range findings {
		if err := g.print(f, func(w io.Writer) { _, _ = fmt.Fprintln(w, f) }); err != nil {
			return err
		}
	}
	if len(findings) > 0 {
		return errFound
	}
	if !g.JSON {
		_, _ = fmt.Fprintf(g.out, "%d schemas: every registered reader reads them, and they read every registered version\n", len(schema.All()))
	}
	return nil
}

type schemaRegisterCmd struct{}

// Help is shown by schema register --help.
func (schemaRegisterCmd) Help() string { return "Example: conveyance schema register" }

// Run registers.
func (schemaRegisterCmd) Run(ctx context.Context, g *globals) error {
	r, err := g.registrar()
	if err != nil {
		return err
	}
	done, err := r.Register(ctx, schema.All())
	if err != nil {
		return g.away(err, "the registry", "--registry")
	}
	if g.JSON {
		return printLines(g, done)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		for _, d := range done {
			state := "was there"
			if d.New {
				state = "new"
			}
			_, _ = fmt.Fprintf(w, "%s\tversion %d\tid %d\t%s\n", d.Subject, d.Version, d.ID, state)
		}
	})
}

// registerSchemas is what up does at each start.
func registerSchemas(ctx context.Context, g *globals) error {
	r, err := g.registrar()
	if err != nil {
		return err
	}
	_, err = r.Register(ctx, schema.All())
	return g.away(err, "the registry", "--registry")
}

type schemaListCmd struct{}

// Help is shown by schema list --help.
func (schemaListCmd) Help() string { return "Example: conveyance schema list" }

// Run lists.
func (schemaListCmd) Run(ctx context.Context, g *globals) error {
	r, err := g.registrar()
	if err != nil {
		return err
	}
	all, err := r.List(ctx)
	if err != nil {
		return g.away(err, "the registry", "--registry")
	}
	if g.JSON {
		return printLines(g, all)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "SUBJECT\tVERSIONS\tTHIS BUILD\tID\tCOMPATIBILITY")
		for _, l := range all {
			_, _ = fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%s\n", l.Subject, l.Versions, l.Current, l.ID, l.Compatibility)
		}
	})
}
