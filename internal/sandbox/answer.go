package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"conveyance/internal/sandbox/fault"
)

// answer holds what a vendor answers until it is known how much of it goes out.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// writeRaw writes the answer's head, which promises length bytes, and then sent.
func (a *answer) writeRaw(out io.Writer, length int, sent []byte) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", a.code(), http.StatusText(a.code()))
	a.header.Set("Content-Length", strconv.Itoa(length))
	_ = a.header.Write(&head) // a buffer takes everything
	head.WriteString("\r\n")
	head.Write(sent)
	_, _ = out.Write(head.Bytes()) // the connection breaks next
}

// breakOff resets the connection, after write wrote to it what was to arrive before.
func breakOff(w http.ResponseWriter, write func(io.Writer)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // a connection that cannot be taken over (HTTP/2) ends with an empty answer
	}
	defer func() { _ = conn.Close() }()
	if write != nil {
		write(conn)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close sends RST
	}
}

// huge answers with JSON that goes on and on.
func huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	_, err := io.WriteString(w, `{"value":"`)
	for sent := 0; err == nil && sent < fault.HugeBytes; sent += len(chunk) {
		_, err = w.Write(chunk)
	}
	if err == nil {
		_, _ = io.WriteString(w, `"}`)
	}
}
