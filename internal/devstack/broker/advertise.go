package broker

import (
	"net"
	"strconv"
)

// advertising makes the broker tell clients another address than the one that it listens on: where a
// cable stands between that a test cuts.
func advertising(addr string) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address) //nolint:noctx // as kfake itself listens
		if err != nil {
			return nil, err
		}
		return &named{l, addr}, nil
	}
}

// named is a listener with another address.
type named struct {
	net.Listener

	addr string
}

// Addr is what clients are told.
func (n *named) Addr() net.Addr {
	host, text, _ := net.SplitHostPort(n.addr)
	port, _ := strconv.Atoi(text)
	return &net.TCPAddr{IP: net.ParseIP(host), Port: port}
}
