package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const line2of3 = "\r\x1b[Kasking: 2 of 3"

func TestProgressIsToldAfterASecondAndWipedAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &lockedBuffer{}
		p := newProgress(out, "asking", 3)
		p.step()
		time.Sleep(progressAfter - time.Millisecond) //nolint:forbidigo // the bubble's clock
		require.Empty(t, out.String(), "what is quick is silent")
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		require.Equal(t, "\r\x1b[Kasking: 1 of 3", out.String(), "and what stands still is told")
		p.step()
		require.Equal(t, "\r\x1b[Kasking: 1 of 3"+line2of3, out.String())
		p.step()
		require.Equal(t, "\r\x1b[Kasking: 1 of 3"+line2of3+"\r\x1b[K", out.String())
	})
	var pipe bytes.Buffer
	require.NotEqual(t, &pipe, (&globals{errOut: &pipe}).progress("asking", 3).out, "a script hears nothing")
}

func TestProgressOfWhatIsQuickSaysNothingLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &lockedBuffer{}
		p := newProgress(out, "asking", 1)
		p.step()
		time.Sleep(2 * progressAfter) //nolint:forbidigo // the bubble's clock
		require.Empty(t, out.String())
		newProgress(out, "asking", 0)
		time.Sleep(2 * progressAfter) //nolint:forbidigo // the bubble's clock
		require.Empty(t, out.String(), "there is nothing to wait for")
	})
}
