package kafka

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"conveyance/internal/realparts"
)

// Door is a further listener for clients, with a certificate of its own: how tests meet a broker whose
// certificate is not as it should be.
type Door struct {
	Name     string    // in capitals, as Kafka's listeners are called
	Host     string    // the name in the certificate; empty = the loopback's own
	NotAfter time.Time // zero = in authorityFor
	Lab      bool      // in plain text, and whoever comes by it may do anything: for the test itself
}

// authorityFor is how long the throw-away certificates are good.
const authorityFor = 24 * time.Hour

// Authority signs certificates for one test.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that nobody trusts yet.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := template("throw-away authority", time.Now().Add(authorityFor))
	of.IsCA, of.BasicConstraintsValid, of.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

func template(name string, until time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * authorityFor), NotAfter: until,
	}
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return block("CERTIFICATE", a.cert.Raw) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Issue returns key and certificate in one PEM text, for a host by name or, where host is empty, for the
// loopback; good for server and client.
func (a *Authority) Issue(name, host string, until time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := template(name, until)
	of.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if of.DNSNames = []string{host}; host == "" {
		of.DNSNames, of.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, of, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", host, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{block("PRIVATE KEY", private), block("CERTIFICATE", der)}, nil), nil
}

func (c *Cluster) pem(name string) string { return filepath.Join(c.o.Dir, name+".pem") }

// CA is the file of the authority that signed the brokers' certificates.
func (c *Cluster) CA() string { return c.pem("ca") }

// certify writes the certificates of all listeners.
func (c *Cluster) certify() (err error) {
	if c.tls, err = NewAuthority(); err != nil {
		return err
	}
	if err := os.WriteFile(c.CA(), c.tls.PEM(), 0o600); err != nil {
		return err
	}
	for _, d := range append([]Door{{Name: "node"}}, c.o.Doors...) {
		if d.NotAfter.IsZero() {
			d.NotAfter = time.Now().Add(authorityFor)
		}
		text, err := c.tls.Issue("kafka", d.Host, d.NotAfter)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.pem(d.Name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Door is the address of the first broker's further listener.
func (c *Cluster) Door(name string) string {
	for i, d := range c.o.Doors {
		if d.Name == name {
			return realparts.Loopback(c.nodes[1].ports[doorPorts+i])
		}
	}
	return ""
}
