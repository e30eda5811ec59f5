// Command conveyance is the whole bus in one binary: every stage as a process, the operators'
// commands, and up, which runs all of it on one machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"conveyance/avro/topic"
)

// Exit codes, the same for every command.
const (
	exitFailed = 1 // it did not work; one sentence on stderr says what and what next
	exitUsage  = 2 // the command line is wrong
	exitFound  = 3 // it worked, and found something that a person should see
)

// errFound makes a command exit with exitFound; what was found is already printed.
var errFound = errors.New("found something")

// errUsage is a command line that parses and says too little, or something that is not there.
type errUsage string

func (e errUsage) Error() string { return string(e) }

// cli is every command, in the order of the data and then of the day.
type cli struct {
	globals

	Up        upCmd        `cmd:"" help:"Run the whole bus on this machine: Kafka, registry, Postgres, simulated vendors, every stage."`
	Ingest    ingestCmd    `cmd:"" group:"stages" help:"Take vendors' webhooks in: verify, keep, answer."`
	Fetch     fetchCmd     `cmd:"" group:"stages" help:"Turn hints and polls into snapshots of the vendors' records."`
	Translate translateCmd `cmd:"" group:"stages" help:"Turn snapshots into canonical events."`
	Adapter   adapterCmd   `cmd:"" group:"stages" help:"Apply events to one destination."`

	Status  statusCmd  `cmd:"" group:"operate" help:"Say what runs, what lags and what waits."`
	Why     whyCmd     `cmd:"" group:"operate" help:"Say what a deal, account or tenant waits for, and what ends it."`
	Trace   traceCmd   `cmd:"" group:"operate" help:"Show every step of a deal, from hint to effect."`
	Held    heldCmd    `cmd:"" group:"operate" help:"List, show, release or drop what is held."`
	Link    linkCmd    `cmd:"" group:"operate" help:"List signed records without a deal, and tie records to deals by hand."`
	Rewind  rewindCmd  `cmd:"" group:"operate" help:"Set where a group stands in a partition whose log was cut."`
	Tenant  tenantCmd  `cmd:"" group:"operate" help:"Apply, check, pause and list brokerages and their accounts."`
	Topics  topicsCmd  `cmd:"" group:"operate" help:"Make and compare the topics."`
	Schema  schemaCmd  `cmd:"" group:"operate" help:"Check, register and list the event schemas."`
	Migrate migrateCmd `cmd:"" group:"operate" help:"Bring the Postgres schemas up to this build."`
	Config  configCmd  `cmd:"" group:"operate" help:"Print the effective settings, secrets masked."`
	Health  healthCmd  `cmd:"" group:"operate" help:"Ask the process of this machine whether it lives, or is ready."`

	Sandbox sandboxCmd `cmd:"" group:"try" help:"Run the simulated vendors alone."`
	Demo    demoCmd    `cmd:"" group:"try" help:"Act out a disaster on a running up, and say what became of it."`
	Lab     lab        `embed:"" group:"try"`
	Version versionCmd `cmd:"" group:"try" help:"Print the version."`

	Broker   brokerCmd   `cmd:"" hidden:"" help:"Run the embedded Kafka alone (up does)."`
	Registry registryCmd `cmd:"" hidden:"" help:"Run the embedded schema registry alone (up does)."`
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop() // drain
		<-signals
		os.Exit(exitFailed) // a second one stops at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// newParser declares every command into c. exit is called by --help.
func newParser(c *cli, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("conveyance"),
		kong.Description("An event bus for real-estate franchises on Kafka: hint, fact, meaning, effect."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "stages", Title: "Stages, each a process of its own:"},
			{Key: "operate", Title: "For operators and integration engineers:"},
			{Key: "try", Title: "To try things out:"},
		}),
		kong.Vars{"prefix": topic.PrefixDefault, "destinations": destinationNames()},
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
	)
}

// run parses and runs one command and returns its exit code. Everything that a test needs to vary
// is a parameter; the environment is read by kong alone.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := newParser(&c, stdout, stderr, func(n int) { code = n })
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "conveyance:", err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help has been printed
		return code
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "conveyance:", err)
		if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
			_, _ = fmt.Fprintf(stderr, "see: %s --help\n", strings.TrimSpace("conveyance "+pe.Context.Command()))
		}
		return exitUsage
	}
	c.out, c.errOut = stdout, stderr
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(&c.globals)
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0
	case errors.Is(err, errFound):
		return exitFound
	}
	_, _ = fmt.Fprintln(stderr, "conveyance:", err)
	if _, usage := errors.AsType[errUsage](err); usage {
		_, _ = fmt.Fprintf(stderr, "see: conveyance %s --help\n", k.Command())
		return exitUsage
	}
	return exitFailed
}
