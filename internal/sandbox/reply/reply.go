// Package reply writes the answers of the simulated vendors, and reads what they are sent.
package reply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// BodyBytesMax is the largest request body that a simulated vendor reads: far above any record.
const BodyBytesMax = 10 << 20

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(out.Bytes(), []byte("\n"))) // the caller hung up: nobody to tell
}

// Object reads a request's body as one JSON object, numbers as written. An empty body is no object.
func Object(r *http.Request) (map[string]any, error) {
	var out map[string]any
	if err := Into(r, &out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errors.New("the body is not a JSON object")
	}
	return out, nil
}

// Into reads a request's body as one JSON value with nothing behind it, numbers as written.
func Into(r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, BodyBytesMax))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("reading the body as JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the body as JSON: something follows the value")
	}
	return nil
}

// Seconds are whole seconds, rounded up, at least 1: what Retry-After and its kin hold.
func Seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
