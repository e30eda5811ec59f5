package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/kafka"
	"conveyance/internal/topics"
)

// kafkaFlags say how Kafka is reached, and as whom. A {process} in them stands for the process's own name
// with dashes (adapter-warehouse), and operator for the commands: so one setting serves all, and each has a
// user of its own.
type kafkaFlags struct {
	KafkaTLS          bool   `name:"kafka-tls" env:"CONVEYANCE_KAFKA_TLS" help:"Speak TLS with Kafka, trusting this machine's authorities."`
	KafkaCA           string `name:"kafka-tls-ca" env:"CONVEYANCE_KAFKA_TLS_CA" help:"Speak TLS with Kafka, trusting the authorities of this file (PEM) alone." placeholder:"FILE" type:"path"`
	KafkaCert         string `name:"kafka-tls-cert" env:"CONVEYANCE_KAFKA_TLS_CERT" help:"Certificate to show to Kafka (PEM), where it asks for one; {process} is the process's name." placeholder:"FILE" type:"path"`
	KafkaKey          string `name:"kafka-tls-key" env:"CONVEYANCE_KAFKA_TLS_KEY" help:"Key of that certificate (PEM)." placeholder:"FILE" type:"path"`
	KafkaUser         string `name:"kafka-sasl-user" env:"CONVEYANCE_KAFKA_SASL_USER" help:"User at Kafka (SCRAM-SHA-512); {process} is the process's name, operator for a command." placeholder:"NAME"`
	KafkaPasswordFile string `name:"kafka-sasl-password-file" env:"CONVEYANCE_KAFKA_SASL_PASSWORD_FILE" help:"File of its password, or CONVEYANCE_KAFKA_SASL_PASSWORD holds it; {process} as above." placeholder:"FILE" type:"path"`
}

// kafkaPassword is the environment's alone: a command line can be read by everybody on the machine.
const kafkaPassword = "CONVEYANCE_KAFKA_SASL_PASSWORD" //nolint:gosec // G101: a name

// operator is the process of every command that is no stage.
const operator = "operator"

// settings are the flags as the environment gives them.
func (f kafkaFlags) settings() []setting {
	tls := ""
	if f.KafkaTLS {
		tls = "true"
	}
	return []setting{
		{"kafka-tls", "CONVEYANCE_KAFKA_TLS", tls},
		{"kafka-tls-ca", "CONVEYANCE_KAFKA_TLS_CA", f.KafkaCA},
		{"kafka-tls-cert", "CONVEYANCE_KAFKA_TLS_CERT", f.KafkaCert},
		{"kafka-tls-key", "CONVEYANCE_KAFKA_TLS_KEY", f.KafkaKey},
		{"kafka-sasl-user", "CONVEYANCE_KAFKA_SASL_USER", f.KafkaUser},
		{"kafka-sasl-password-file", "CONVEYANCE_KAFKA_SASL_PASSWORD_FILE", f.KafkaPasswordFile},
	}
}

// env hands the flags down to up's stages; a password in the environment they inherit.
func (f kafkaFlags) env() []string {
	var env []string
	for _, s := range f.settings() {
		if s.Value != "" {
			env = append(env, s.Env+"="+s.Value)
		}
	}
	return env
}

// dashed is a process's name as it stands in users, files and client ids.
func dashed(process string) string { return strings.ReplaceAll(process, " ", "-") }

// kafka are the options of a process's clients.
func (g *globals) kafka(process string) ([]kgo.Opt, error) {
	own := strings.NewReplacer("{process}", dashed(process))
	a := kafka.Access{
		Seeds: strings.Split(g.Kafka, ","), TLS: g.KafkaTLS, CA: g.KafkaCA,
		Cert: own.Replace(g.KafkaCert), Key: own.Replace(g.KafkaKey), User: own.Replace(g.KafkaUser),
	}
	switch {
	case a.User == "":
	case g.KafkaPasswordFile != "":
		file := own.Replace(g.KafkaPasswordFile)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the password of user %s of Kafka: %w", a.User, err)
		}
		a.Password = strings.TrimRight(string(text), "\r\n")
	default:
		a.Password = os.Getenv(kafkaPassword)
	}
	return a.Options("conveyance-" + dashed(process))
}

// kafkaClient is a command's client.
func (g *globals) kafkaClient(more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := g.kafka(operator)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("reaching Kafka: %w", err)
	}
	return cl, nil
}

// checkWithin bounds the look at Kafka before a stage starts: one that is away is waited for by the stage.
const checkWithin = 2 * time.Second

// checkKafka returns what keeps a stage from working with Kafka and does not mend itself: a certificate, a
// password, a right.
func (g *globals) checkKafka(ctx context.Context, process string, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("reaching Kafka: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		if refused, ok := errors.AsType[*kafka.RefusedError](kafka.Explain(err)); ok {
			return fmt.Errorf("reaching Kafka at %s: %w", g.Kafka, refused)
		}
		return nil
	}
	if g.KafkaUser == "" && g.KafkaCert == "" {
		return nil
	}
	lacking, err := topics.Lacking(ctx, cl, g.rights(process, g.KafkaUser))
	if err != nil || len(lacking) == 0 {
		return nil // it answered a moment ago: the stage itself says what becomes of it
	}
	return lacks(lacking)
}

// lacks is one sentence about the rights that are missing.
func lacks(rights []topics.Right) error {
	var names []string
	for _, r := range rights {
		names = append(names, fmt.Sprintf("%s on %s %s", strings.ToUpper(r.Operation.String()), r.Kind, r.Name))
	}
	return fmt.Errorf("user %s lacks %s at Kafka: conveyance topics acls --apply grants what each process needs "+
		"(a topic that does not exist counts too: conveyance topics apply)", rights[0].Principal, strings.Join(names, ", "))
}

// refused adds the cluster's address to what Kafka refuses, and what to do next to a Kafka that is away.
func (g *globals) refused(err error) error {
	if refused, ok := errors.AsType[*kafka.RefusedError](kafka.Explain(err)); ok {
		return fmt.Errorf("reaching Kafka at %s: %w", g.Kafka, refused)
	}
	return g.away(fmt.Errorf("reaching Kafka at %s: %w", g.Kafka, err), "Kafka", "--kafka")
}
