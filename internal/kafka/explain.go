package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// RefusedError is what no waiting mends: who connects, or how, is wrong.
type RefusedError struct {
	Sentence string // what is wrong, and the remedy
	Err      error
}

func (e *RefusedError) Error() string { return e.Sentence }
func (e *RefusedError) Unwrap() error { return e.Err }

// Explain returns err as a *RefusedError where it is one of those that a person must mend, else err itself.
// It needs no network.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, done := errors.AsType[*RefusedError](err); done {
		return err
	}
	if sentence := explainTLS(err); sentence != "" {
		return &RefusedError{sentence, err}
	}
	if sentence := explainLogin(err); sentence != "" {
		return &RefusedError{sentence, err}
	}
	return err
}

func explainTLS(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "Kafka's certificate is signed by an authority that we do not trust: name the right one by --kafka-tls-ca"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("Kafka's certificate is not for %s, but for %s: name the brokers by --kafka as their "+
			"certificates do, or give them certificates for their names", e.Host, names(e.Certificate))
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("Kafka's certificate was good from %s to %s: give the brokers a new one",
			e.Cert.NotBefore.UTC().Format(time.RFC3339), e.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "Kafka's certificate does not hold: " + err.Error()
	}
	text := err.Error()
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(text, "client is using TLS when the broker is not") {
		return "Kafka does not speak TLS at this address: name its TLS listener by --kafka, or leave --kafka-tls and --kafka-tls-ca out"
	}
	// The client tells both of these in words alone.
	if strings.Contains(text, "tls alert record") || strings.Contains(text, "is TLS missing?") {
		return "Kafka speaks TLS at this address, and we do not: give --kafka-tls-ca (or --kafka-tls)"
	}
	if strings.Contains(text, "remote error: tls: certificate required") || strings.Contains(text, "remote error: tls: bad certificate") {
		return "Kafka asks for a certificate of ours and does not take the one it gets: give --kafka-tls-cert and --kafka-tls-key"
	}
	return ""
}

func names(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	return strings.Join(all, ", ")
}

func explainLogin(err error) string {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "Kafka does not know the user, or the password is wrong: correct --kafka-sasl-user or --kafka-sasl-password-file"
	case errors.Is(err, kerr.UnsupportedSaslMechanism), strings.Contains(err.Error(), "broker does not support"):
		return "Kafka has no SCRAM-SHA-512 at this address: name another listener by --kafka"
	case strings.Contains(err.Error(), "is SASL missing?"):
		return "Kafka wants a user at this address: give --kafka-sasl-user and --kafka-sasl-password-file"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
		errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "the user lacks a right at Kafka: conveyance topics acls says which each process needs: " + err.Error()
	}
	return ""
}

// Lacks says which right on a "topic" or a "group" is missing where err is a refusal of one of that kind, else
// returns err itself.
func Lacks(err error, operation, kind, name string) error {
	of := map[string]error{"topic": kerr.TopicAuthorizationFailed, "group": kerr.GroupAuthorizationFailed}[kind]
	if of == nil || !errors.Is(err, of) {
		return err
	}
	if _, done := errors.AsType[*RefusedError](err); done {
		return err
	}
	return &RefusedError{fmt.Sprintf("the user lacks %s on %s %s at Kafka: %s", operation, kind, name, grant), err}
}

const grant = "conveyance topics acls --apply grants what each process needs"
