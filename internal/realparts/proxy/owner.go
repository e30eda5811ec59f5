package proxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Of tells the connections of one process: pid is asked each time, since a process may be started
// again under another. Linux only, for processes of this account or as root.
func Of(pid func() int) func(client net.Addr) bool {
	return func(client net.Addr) bool {
		tcp, ok := client.(*net.TCPAddr)
		return ok && ports(pid())[tcp.Port]
	}
}

// ports are the local ports of a process's TCP connections.
func ports(pid int) map[int]bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	sockets := map[string]bool{}
	fds, _ := filepath.Glob(filepath.Join(dir, "fd", "*"))
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if inode, is := strings.CutPrefix(to, "socket:["); err == nil && is {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	found := map[int]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		scan(filepath.Join(dir, "net", table), sockets, found)
	}
	return found
}

// scan reads one of the kernel's tables: number, local address and port in hexadecimal, remote
// address, state, ..., inode in the tenth column.
func scan(table string, sockets map[string]bool, found map[int]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	const local, inode = 1, 9
	for lines := bufio.NewScanner(f); lines.Scan(); {
		cells := strings.Fields(lines.Text())
		if len(cells) <= inode || !sockets[cells[inode]] {
			continue
		}
		_, port, _ := strings.Cut(cells[local], ":")
		var n int
		if _, err := fmt.Sscanf(port, "%X", &n); err == nil {
			found[n] = true
		}
	}
}
