package stream_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/stream"
)

func TestAdhocEffects(t *testing.T) {
	ms := os.Getenv("ADHOC_MS")
	if ms == "" {
		t.Skip()
	}
	var lat int
	fmt.Sscan(ms, &lat)
	n := 20000
	if lat > 0 {
		n = 5000
	}
	w := newWorld(t, 12)
	class := ledger.ClassB
	if os.Getenv("ADHOC_CLASS") == "C" {
		class = ledger.ClassC
	}
	v := &vendor{class: class, apply: func(ctx context.Context, _ *stream.Record, _ ledger.Effect) (ledger.Receipt, error) {
		if lat > 0 {
			time.Sleep(time.Duration(lat) * time.Millisecond)
		}
		return ledger.Receipt{}, nil
	}}
	var outs []stream.Out
	for i := range n {
		outs = append(outs, out(deal(fmt.Sprintf("t%d", i%5), fmt.Sprint(i), 1)))
	}
	if err := w.pub.Publish(t.Context(), outs...); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.CallDeadline = 10 * time.Second
	began := time.Now()
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	for len(v.done()) == 0 {
		time.Sleep(time.Millisecond)
	}
	first := time.Now()
	for w.watermark() < int64(n) {
		time.Sleep(5 * time.Millisecond)
	}
	el := time.Since(first)
	fmt.Printf("effects lat=%dms n=%d startup=%s rate=%.0f/s ratio=%.2f\n", lat, n, first.Sub(began), float64(n)/el.Seconds(), float64(n)/el.Seconds()/(64000/float64(max(lat, 1))))
}

func TestAdhocBatch(t *testing.T) {
	if os.Getenv("ADHOC_MS") == "" {
		t.Skip()
	}
	n := 100000
	w := newWorld(t, 12)
	var outs []stream.Out
	for i := range n {
		outs = append(outs, out(deal(fmt.Sprintf("t%d", i%5), fmt.Sprint(i), 1)))
	}
	if err := w.pub.Publish(t.Context(), outs...); err != nil {
		t.Fatal(err)
	}
	c := newCopier(w)
	c.fresh = true
	began := time.Now()
	w.run(stream.NewBatch(w.config(), w.deps(w.pool), c))
	for w.watermark() == 0 {
		time.Sleep(time.Millisecond)
	}
	first := time.Now()
	for w.watermark() < int64(n) {
		time.Sleep(5 * time.Millisecond)
	}
	el := time.Since(first)
	fmt.Printf("project n=%d startup=%s rate=%.0f/s batches=%d\n", n, first.Sub(began), float64(n)/el.Seconds(), len(c.sizes))
}
