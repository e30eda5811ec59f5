package budget

import (
	"cmp"
	"context"
)

type laneKey struct{}

// WithLane says in which lane calls under ctx spend their budget, where they do not say so
// themselves: fetch knows why a record is read, the vendor's folder that reads it does not.
func WithLane(ctx context.Context, lane string) context.Context {
	return context.WithValue(ctx, laneKey{}, lane)
}

// LaneOf returns the lane of calls under ctx, LaneLive where nobody said.
func LaneOf(ctx context.Context) string {
	lane, _ := ctx.Value(laneKey{}).(string)
	return cmp.Or(lane, LaneLive)
}
