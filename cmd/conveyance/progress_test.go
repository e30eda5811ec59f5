package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsToldAfterASecondAndWipedAtTheEnd(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{out: &out, what: "asking", total: 3, begun: time.Now()}
	p.step()
	require.Empty(t, out.String(), "what is quick is silent")
	p.begun = p.begun.Add(-progressAfter)
	p.step()
	require.Equal(t, "\r\x1b[Kasking: 2 of 3", out.String())
	p.step()
	require.Equal(t, "\r\x1b[Kasking: 2 of 3\r\x1b[K", out.String())
	var pipe bytes.Buffer
	require.NotEqual(t, &pipe, (&globals{errOut: &pipe}).progress("asking", 3).out, "a script hears nothing")
}
