package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"conveyance/avro/topic"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
)

// globals are the settings of every command: flag, environment and help are one declaration.
type globals struct {
	kafkaFlags

	Kafka       string `env:"CONVEYANCE_KAFKA" help:"Kafka's bootstrap addresses, separated by commas. Default: those of the running up." placeholder:"HOST:PORT"`
	RegistryURL string `name:"registry" env:"CONVEYANCE_REGISTRY" help:"Schema registry. Default: that of the running up." placeholder:"URL"`
	PostgresURL string `name:"postgres" env:"CONVEYANCE_POSTGRES" help:"Postgres. Default: that of the running up. A password belongs into the environment or ~/.pgpass." placeholder:"URL"`
	PublicURL   string `env:"CONVEYANCE_PUBLIC_URL" help:"How vendors and people reach the door, without a path. Default: that of the running up." placeholder:"URL"`
	TopicPrefix string `env:"CONVEYANCE_TOPIC_PREFIX" help:"Stands before every topic, group and subject. Default: that of the running up, else ${prefix}" placeholder:"TEXT"`
	Dir         string `env:"CONVEYANCE_DIR" help:"Folder of the running up, whose up.json names the addresses." default:".conveyance" type:"path"`
	JSON        bool   `help:"One JSON object per line on stdout."`
	LogLevel    string `env:"CONVEYANCE_LOG_LEVEL" help:"debug, info, warn or error; logs go to stderr." default:"info" enum:"debug,info,warn,error"`

	out, errOut io.Writer `kong:"-"`
	ended       int       // pid of the up that the addresses are from, where it runs no more
}

// upFile is the content of <dir>/up.json and up's first line with --json.
type upFile struct {
	Kind        string              `json:"kind"`
	Kafka       string              `json:"kafka"`
	Registry    string              `json:"registry"`
	Postgres    string              `json:"postgres"`
	HTTP        string              `json:"http"`
	Sandbox     string              `json:"sandbox"`
	TopicPrefix string              `json:"topic_prefix"`
	PID         int                 `json:"pid"`
	Processes   map[string]int      `json:"processes"`
	Tenants     map[string]upTenant `json:"tenants"`
}

type upTenant struct {
	Accounts map[string]upAccount `json:"accounts"`
}

type upAccount struct {
	Webhook string `json:"webhook,omitempty"`
	Secret  string `json:"secret,omitempty"`
}

func readUp(dir string) (upFile, error) {
	var up upFile
	text, err := os.ReadFile(filepath.Join(dir, "up.json"))
	if err != nil {
		return up, err
	}
	if err := json.Unmarshal(text, &up); err != nil {
		return up, fmt.Errorf("reading %s: %w", filepath.Join(dir, "up.json"), err)
	}
	return up, nil
}

// need says which addresses a command cannot do without.
type need uint8

const (
	needKafka need = 1 << iota
	needRegistry
	needPostgres
)

// resolve fills the addresses and the prefix that were not given from the running up, and names every
// address that is still missing at once.
func (g *globals) resolve(n need) error {
	up, err := readUp(g.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if up.PID != 0 && errors.Is(syscall.Kill(up.PID, 0), syscall.ESRCH) {
		g.ended = up.PID
	}
	g.TopicPrefix = cmp.Or(g.TopicPrefix, up.TopicPrefix, topic.PrefixDefault)
	g.PublicURL = cmp.Or(g.PublicURL, up.HTTP)
	var missing []string
	for _, s := range []struct {
		need  need
		value *string
		up    string
		flag  string
		env   string
	}{
		{needKafka, &g.Kafka, up.Kafka, "--kafka", "CONVEYANCE_KAFKA"},
		{needRegistry, &g.RegistryURL, up.Registry, "--registry", "CONVEYANCE_REGISTRY"},
		{needPostgres, &g.PostgresURL, up.Postgres, "--postgres", "CONVEYANCE_POSTGRES"},
	} {
		if *s.value == "" {
			*s.value = s.up
		}
		if *s.value == "" && n&s.need != 0 {
			missing = append(missing, s.flag+" (or "+s.env+")")
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d settings are missing: %s; or run this in the folder of a running up (no %s here)",
			len(missing), strings.Join(missing, ", "), filepath.Join(g.Dir, "up.json"))
	}
	return nil
}

// open resolves and opens Postgres.
func (g *globals) open(ctx context.Context, name string) (*pgxpool.Pool, error) {
	if err := g.resolve(needPostgres); err != nil {
		return nil, err
	}
	pool, err := postgres.Open(ctx, g.PostgresURL, "conveyance "+name)
	return pool, g.away(err, "Postgres", "--postgres")
}

// away adds to the error of a server that does not answer what a person does next.
func (g *globals) away(err error, what, flag string) error {
	op, isNet := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return nil
	case !isNet:
		return err
	case g.ended != 0:
		return fmt.Errorf("the up of %s (pid %d) has ended: start conveyance up again: %w", g.Dir, g.ended, op)
	default: // op alone: what wraps it repeats the address for each of the host's
		return fmt.Errorf("%s does not answer: start it, or correct %s: %w", what, flag, op)
	}
}

func (g *globals) logger(component string) (*zap.Logger, error) {
	return observe.NewLogger(component, g.LogLevel)
}

// print writes one JSON line, or calls text.
func (g *globals) print(v any, text func(io.Writer)) error {
	if !g.JSON {
		text(g.out)
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := g.out.Write(timeInJSON.ReplaceAllFunc(b.Bytes(), inMillis))
	return err
}

// timeInJSON is a string that is a time and nothing else, as encoding/json writes one.
var timeInJSON = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"`)

// inMillis writes every time as scripts rely on it, UTC with milliseconds, in one place: the
// structs come from many packages.
func inMillis(quoted []byte) []byte {
	at, err := time.Parse(time.RFC3339Nano, string(bytes.Trim(quoted, `"`)))
	if err != nil {
		return quoted
	}
	return []byte(at.UTC().Format(`"2006-01-02T15:04:05.000Z07:00"`))
}

// printLines writes a listing as --json asks: one object per line.
func printLines[T any](g *globals, all []T) error {
	for _, v := range all {
		if err := g.print(v, nil); err != nil {
			return err
		}
	}
	return nil
}

// topicTable is every topic of the vendors and destinations that this build has.
func (g *globals) topicTable(partitions int) []topic.Topic {
	return topic.Table(partitions, vendorNames()...)
}
