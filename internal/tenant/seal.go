package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// Sealer seals what is secret at rest. The associated data says what a ciphertext is of; it opens
// under no other, so that a sealed credential cannot be moved to another account. A keyset of tink
// is one.
type Sealer interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// ErrSealed means that a process without the sealing key, or with another one, asked for a secret.
var ErrSealed = errors.New("the sealing key does not open the stored credentials: give the key with which they were applied")

// NewSealingKey draws a key and returns the content of its file, which its maker writes with mode
// 0600. Who loses it has to apply every tenant anew with a new one.
func NewSealingKey() ([]byte, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("drawing a sealing key: %w", err)
	}
	var file bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&file)); err != nil {
		return nil, fmt.Errorf("writing a sealing key: %w", err)
	}
	return file.Bytes(), nil
}

// ReadSealingKey reads the key's file. It may hold several keys: the primary one seals, all open.
func ReadSealingKey(path string) (Sealer, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %w", err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file)))
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %s holds no keyset", path) // the cause could quote the file
	}
	sealer, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %s is for another purpose: %w", path, err)
	}
	return sealer, nil
}

func credentialOf(key string) []byte { return []byte("credential " + key) }
func pseudonymOf(id string) []byte   { return []byte("pseudonym " + id) }
func endpointOf(key string) []byte   { return []byte("webhook endpoint " + key) }
func verifierOf(key string) []byte   { return []byte("oauth verifier " + key) }

func webhookKeyOf(of keyring, id string) []byte {
	return []byte("webhook key " + of.tenant + "/" + of.vendor + "/" + of.account + " " + id)
}
