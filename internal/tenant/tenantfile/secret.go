package tenantfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// secretBytesMax of a credential: a private key of 4 KiB and some fields.
const secretBytesMax = 64 << 10

// reference is what a file says instead of a secret.
type reference struct{ file, env string }

func (r reference) String() string {
	if r.file != "" {
		return "file " + r.file
	}
	return "env " + r.env
}

// resolve reads a credential: a JSON object of strings. Its errors never quote what was read.
func (r *reader) resolve(ref reference) (map[string]string, error) {
	text, err := r.text(ref)
	if err != nil {
		return nil, err
	}
	var fields map[string]string
	if err := json.Unmarshal(text, &fields); err != nil || len(fields) == 0 {
		return nil, fmt.Errorf("%s does not hold a JSON object of strings", ref)
	}
	return fields, nil
}

// text is what a reference leads to, as it stands there.
func (r *reader) text(ref reference) ([]byte, error) {
	if ref.file != "" {
		path := ref.file
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(r.file.Name), path)
		}
		text, err := readBounded(path, secretBytesMax)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s", path)
		}
		if err != nil {
			return nil, fmt.Errorf("file %s cannot be read", path)
		}
		return text, nil
	}
	value, ok := "", false
	if r.contract.Env != nil {
		value, ok = r.contract.Env(ref.env)
	}
	if !ok || value == "" {
		return nil, fmt.Errorf("the environment has no %s", ref.env)
	}
	return []byte(value), nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}
