package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

type healthCmd struct {
	Listen string `env:"CONVEYANCE_LISTEN" help:"Address that the process was told to listen on." default:"127.0.0.1:8080"`
	Ready  bool   `help:"Ask whether it is ready, not only whether it lives."`
}

// Help is shown by health --help.
func (healthCmd) Help() string {
	return `For a container's health check, where there is no curl: it asks the process of its own machine.

Example: conveyance health --ready --listen 127.0.0.1:8080`
}

// Run fails where the process does not live, or with --ready is not ready.
func (c *healthCmd) Run(ctx context.Context, g *globals) error {
	addr, err := local(c.Listen)
	if err != nil {
		return errUsage(err.Error())
	}
	said := "alive"
	if c.Ready {
		said, err = "ready", askReady(ctx, addr)
	} else {
		err = askAlive(ctx, addr)
	}
	if err != nil {
		return err
	}
	return g.print(map[string]string{"health": said}, func(w io.Writer) { _, _ = fmt.Fprintln(w, said) })
}

// askAlive returns nil where the process at addr answers its health check.
func askAlive(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w at %s", errNoAnswer, addr)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking whether %s lives: HTTP %d", addr, resp.StatusCode)
	}
	return nil
}

// local is where this machine reaches what listens on an address.
func local(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	switch {
	case err != nil:
		return "", fmt.Errorf("--listen %s: write HOST:PORT", listen)
	case port == "" || port == "0":
		return "", errors.New("--listen: port 0 is any port, so nobody knows where to ask")
	case host == "" || net.ParseIP(host).IsUnspecified():
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// reachable is where another machine reaches what listens on addr: an address of this one's where it
// listens on all. Among containers that is the network's.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !net.ParseIP(host).IsUnspecified() {
		return addr
	}
	all, _ := net.InterfaceAddrs() // a machine that does not tell has its loopback
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return net.JoinHostPort(n.IP.String(), port)
		}
	}
	return net.JoinHostPort("127.0.0.1", port)
}
