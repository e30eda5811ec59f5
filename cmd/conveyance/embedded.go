package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"conveyance/internal/devstack/broker"
	"conveyance/internal/devstack/registry"
)

type brokerCmd struct {
	Listen    string `help:"Address on the loopback." default:"127.0.0.1:9092"`
	Data      string `help:"Data folder." required:"" type:"path"`
	Advertise string `help:"Address that clients are told, of a cable to here that a test cuts." placeholder:"IP:PORT" hidden:""`
	// TroubleFD is how a full disk reaches up's terminal: its log may lie on that very disk.
	TroubleFD int `help:"File descriptor that a sentence is written to when the disk refuses a write." hidden:""`
}

// Run serves until ctx ends.
func (c *brokerCmd) Run(ctx context.Context, g *globals) error {
	log, err := g.logger("broker")
	if err != nil {
		return err
	}
	_, text, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("reading --listen: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("reading --listen: %w", err)
	}
	b, err := broker.Start(ctx, broker.Options{Dir: c.Data, Port: port, Advertise: c.Advertise, Log: log, Trouble: c.trouble()})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return b.Stop()
}

func (c *brokerCmd) trouble() func(error) {
	if c.TroubleFD == 0 {
		return nil
	}
	to := os.NewFile(uintptr(c.TroubleFD), "trouble")
	return func(err error) { _, _ = fmt.Fprintln(to, err) } // a reader that has gone needs no word
}

type registryCmd struct {
	Listen string `help:"Address on the loopback." default:"127.0.0.1:8081"`
	File   string `help:"File that keeps the schemas." required:"" type:"path"`
}

// Run serves until ctx ends.
func (c *registryCmd) Run(ctx context.Context) error {
	r, err := registry.Open(c.File)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, c.Listen, r.Handler()), r.Close())
}

const (
	headerTimeout = 5 * time.Second
	// answerWithin is what a server gives the requests in flight when it is told to stop.
	answerWithin = 3 * time.Second
)

// serve answers on addr until ctx ends, then lets requests in flight finish.
func serve(ctx context.Context, addr string, h http.Handler) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		return s.Close() // a hanging request, as a fault asks for
	}
	return nil
}
