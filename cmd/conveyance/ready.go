package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// readyWithin is how long a process may take to say whether it is ready.
	readyWithin = 2 * time.Second
	// readyBytesMax bounds what is read of its reasons.
	readyBytesMax = 64 << 10
)

// errNotReady means that a process answered, and is not ready.
var errNotReady = errors.New("not ready")

// errNoAnswer means that nobody answers for a process that was there some seconds ago.
var errNoAnswer = errors.New("no answer")

// askReady returns nil where the process at addr is ready, else an error with its reasons.
func askReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w at %s", errNoAnswer, addr)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var said struct {
		Reasons map[string]string `json:"reasons"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, readyBytesMax)).Decode(&said) != nil || len(said.Reasons) == 0 {
		return fmt.Errorf("%w (HTTP %d)", errNotReady, resp.StatusCode)
	}
	return fmt.Errorf("%w: %s", errNotReady, strings.Join(slices.Sorted(maps.Values(said.Reasons)), "; "))
}

// remedy is what a person does about a reason that does not end by itself.
func remedy(reason string) string {
	switch {
	case strings.Contains(reason, "outside the log"), strings.Contains(reason, "made anew"):
		return "see conveyance rewind --help"
	case strings.Contains(reason, "conveyance migrate"):
		return "run conveyance migrate"
	}
	return ""
}
