package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"conveyance/internal/vendorhttp"
)

// metricsBytesMax bounds what is read of a process's metrics; a full page is a tenth of it.
const metricsBytesMax = 8 << 20

// breakerStatus is a vendor's account whose calls a process does not make, since they failed in a row.
type breakerStatus struct {
	Process string `json:"process"`
	Vendor  string `json:"vendor"`
	Account string `json:"account"` // empty: the whole vendor
}

var breakerOpen = regexp.MustCompile(`^` + vendorhttp.MetricBreaker + `\{account="([^"]*)",vendor="([^"]*)"\} 1$`)

// askBreakers reads the open breakers of a process from its metrics.
func askBreakers(ctx context.Context, process, addr string) ([]breakerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of %s: %w", process, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var open []breakerStatus
	lines := bufio.NewScanner(io.LimitReader(resp.Body, metricsBytesMax))
	for lines.Scan() {
		if m := breakerOpen.FindStringSubmatch(lines.Text()); m != nil {
			open = append(open, breakerStatus{process, m[2], m[1]})
		}
	}
	return open, lines.Err()
}
