// Package expect tells silence from a quiet time: from the counts of past weeks it learns how much
// comes in each hour of a week, in the place's own time, and says how likely it is that nothing at all
// comes for as long as nothing has come. Nights and weekends need no rule: nothing was learned of them
// that could be missed. It is pure: no clock, no I/O.
//
// What comes does not come alone: an envelope that moves brings several deliveries at once, and a day is
// busy or not as a whole. So the counts' spread around what was learned says how many deliveries make
// one independent arrival (the clump), and the arrivals are what is expected. What was seen for n hours
// and not for the t that followed is no proof either: k arrivals in n hours leave (n/(n+t))^k for none
// in t, which is the Poisson's own answer where n is long, and a careful one where it is short.
package expect

import (
	"math"
	"time"
)

const (
	// Threshold is how unlikely nothing must be before it is called silence.
	Threshold = 1e-4
	// HistoryMin is how long somebody must have listened before the model dares: two of every hour of
	// the week, without which no spread can be seen.
	HistoryMin = 14 * 24 * time.Hour
	// GapMin is the shortest silence. A busy account's pauses are many, and one of ten thousand comes
	// every week; within an hour nothing is lost by waiting.
	GapMin = time.Hour
	// hoursOfWeek is how many kinds of hours there are.
	hoursOfWeek = 7 * 24
)

// Hour is an hour of the past, or of a gap.
type Hour struct {
	Start time.Time
	Came  int64   // how many came in it
	Open  float64 // the part of it in which somebody listened, from 0 to 1: what nobody heard is no silence
}

// Model is what was learned of one account. The zero Model expects nothing.
type Model struct {
	zone       *time.Location
	came, open [hoursOfWeek]float64
	clump      float64 // deliveries that make one arrival; at least 1, infinite where it cannot be known
	history    float64 // hours
}

// Learn makes a model of hours, each at most once and in any order; those in which nothing came belong
// to them. It keeps nothing of hours.
func Learn(zone *time.Location, hours []Hour) Model {
	m := Model{zone: zone}
	for _, h := range hours {
		i := m.ofWeek(h.Start)
		m.came[i] += float64(h.Came)
		m.open[i] += h.Open
		m.history += h.Open
	}
	m.clump = m.spread(hours)
	return m
}

// spread is the variance of the counts in units of their mean, over all hours of the week together.
func (m *Model) spread(hours []Hour) float64 {
	var chi, free float64
	for _, c := range m.came {
		if c > 0 {
			free-- // each mean is learned from the same counts
		}
	}
	for _, h := range hours {
		i := m.ofWeek(h.Start)
		if m.came[i] == 0 || h.Open == 0 {
			continue
		}
		mean := m.came[i] / m.open[i] * h.Open
		chi += (float64(h.Came) - mean) * (float64(h.Came) - mean) / mean
		free++
	}
	if free < 1 {
		return math.Inf(1)
	}
	return max(1, chi/free)
}

func (m *Model) ofWeek(at time.Time) int {
	if m.zone != nil {
		at = at.In(m.zone)
	}
	return int(at.Weekday())*24 + at.Hour()
}

// Dares says whether the history is long enough.
func (m Model) Dares() bool { return m.history >= HistoryMin.Hours() }

// Nothing is the probability that nothing comes in the hours of a gap. It never rises as the gap gets
// longer, and an hour of the week in which nothing ever came does not change it.
func (m Model) Nothing(gap []Hour) float64 {
	var log float64
	for _, h := range gap {
		i := m.ofWeek(h.Start)
		if m.came[i] > 0 && m.open[i] > 0 {
			log -= m.came[i] / m.clump * math.Log1p(h.Open/m.open[i])
		}
	}
	return math.Exp(log)
}

// Due is how many deliveries such a gap usually brings.
func (m Model) Due(gap []Hour) float64 {
	var due float64
	for _, h := range gap {
		if i := m.ofWeek(h.Start); m.open[i] > 0 {
			due += m.came[i] / m.open[i] * h.Open
		}
	}
	return due
}

// Silent says whether a gap in which nothing came is silence.
func (m Model) Silent(gap []Hour) bool {
	var length float64
	for _, h := range gap {
		length += h.Open
	}
	return m.Dares() && length >= GapMin.Hours() && m.Nothing(gap) < Threshold
}
