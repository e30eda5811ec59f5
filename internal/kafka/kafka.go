// Package kafka is how every process and every command reaches Kafka: addresses, TLS and SASL are made into a
// client's options here and nowhere else, and what a broker refuses is said here in a sentence that names the
// remedy.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Access is how a cluster is reached, and as whom.
type Access struct {
	Seeds     []string
	TLS       bool   // with the machine's own authorities; CA or Cert mean it too
	CA        string // PEM file of the authorities that may have signed the brokers' certificates
	Cert, Key string // PEM files of a certificate of our own, where brokers ask for one
	User      string // SASL/SCRAM-SHA-512; empty = none
	Password  string // never in a log or an error
}

// metadataMinAge is how soon a client may ask again where a partition lives. kgo's 5 s would be how long a
// stage stands still after a broker's restart.
const metadataMinAge = 250 * time.Millisecond

const (
	// dialTimeout and requestOverhead are how long a broker that is cut off or frozen may keep a connection, or
	// a request beyond the time that the request itself allows; kgo's are 10 s each. Kafka replaces a leader that
	// is silent within 9 s, and meanwhile the door has to say 503.
	dialTimeout     = 5 * time.Second
	requestOverhead = 4 * time.Second
	// ProduceTimeout is what a broker may take to have a record in all in-sync replicas. What it does not answer is
	// sent again under the same sequence number, and so written once.
	ProduceTimeout = 3 * time.Second
)

// Options are those of every client. client is how it is called in the brokers' logs and quotas.
func (a Access) Options(client string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(a.Seeds...), kgo.ClientID(client), kgo.MetadataMinAge(metadataMinAge),
		kgo.DialTimeout(dialTimeout), kgo.RequestTimeoutOverhead(requestOverhead),
	}
	if a.TLS || a.CA != "" || a.Cert != "" || a.Key != "" {
		cfg, err := a.tls()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(cfg))
	}
	switch {
	case a.User != "" && a.Password == "":
		return nil, fmt.Errorf("user %s of Kafka has no password: it comes by --kafka-sasl-password-file or "+
			"CONVEYANCE_KAFKA_SASL_PASSWORD", a.User)
	case a.User == "" && a.Password != "":
		return nil, errors.New("a password for Kafka is given, and no --kafka-sasl-user")
	case a.User != "":
		opts = append(opts, kgo.SASL(scram.Auth{User: a.User, Pass: a.Password}.AsSha512Mechanism()))
	}
	return opts, nil
}

// tls checks each broker's certificate against the authorities, and against the name by which it is dialled.
func (a Access) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CA != "" {
		text, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, fmt.Errorf("reading --kafka-tls-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading --kafka-tls-ca: %s holds no certificate in PEM", a.CA)
		}
	}
	if a.Cert == "" && a.Key == "" {
		return cfg, nil
	}
	if a.Cert == "" || a.Key == "" {
		return nil, errors.New("--kafka-tls-cert and --kafka-tls-key go together: one is missing")
	}
	pair, err := tls.LoadX509KeyPair(a.Cert, a.Key)
	if err != nil {
		return nil, fmt.Errorf("reading --kafka-tls-cert and --kafka-tls-key: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}
