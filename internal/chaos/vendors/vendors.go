// Package vendors is the table of what must come of everything that a vendor can do wrong: 26 faults,
// each at an account's first call, once in the middle of a run, and for ever, at every vendor that there
// is. MATRIX.md is the table, for people and for the test that runs each of its cells against the real
// stages, leaves and client, with a simulated vendor at the other end.
package vendors

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed MATRIX.md
var matrix string

// When a fault strikes.
const (
	First   = "first call" // the account's first call of its kind, once
	Mid     = "mid-run"    // once, after a record has gone through
	Forever = "for ever"   // from then on
)

// Cell is one fault of one vendor at one time, and what must come of it.
type Cell struct {
	Fault, Vendor, When string
	// Ends are how the struck record may stand in the end: applied, released (it parked, a person let it
	// go, and it was applied), waiting, held, parked, or behind (nothing waits, and the bus has not what
	// the vendor has).
	Ends []string
	// After are the verdicts on the way, as "retry vendor answered 503". None may be seen beside them, and
	// the first must be where Sure is set: it is not where the table has them in brackets.
	After []string
	Sure  bool
}

// Name is the cell in a line.
func (c Cell) Name() string { return c.Fault + ", " + c.Vendor + ", " + c.When }

// Cells are the cells of the table, in its order.
func Cells() ([]Cell, error) { return parse(matrix) }

const columns = 6 // fault, vendor, three times, why

func parse(text string) ([]Cell, error) {
	var cells []Cell
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| fault ") || strings.HasPrefix(line, "| --") {
			continue
		}
		fields := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(fields) != columns {
			return nil, fmt.Errorf("reading the matrix: %d columns in %q", len(fields), line)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if fields[columns-1] == "" {
			return nil, fmt.Errorf("reading the matrix: no reason in %q", line)
		}
		for i, when := range []string{First, Mid, Forever} {
			c := Cell{Fault: fields[0], Vendor: fields[1], When: when}
			if err := c.expect(fields[2+i]); err != nil {
				return nil, fmt.Errorf("reading the matrix: %s: %w", c.Name(), err)
			}
			cells = append(cells, c)
		}
	}
	return cells, nil
}

// expect reads "applied or released after retry no answer from vendor, hold account refused".
func (c *Cell) expect(text string) error {
	ends, after, _ := strings.Cut(text, " after ")
	c.Ends = strings.Split(ends, " or ")
	if after != "" {
		c.Sure = !strings.HasPrefix(after, "(")
		c.After = strings.Split(strings.Trim(after, "()"), ", ")
	}
	for _, end := range c.Ends {
		switch end {
		case "applied", "released", "waiting", "held", "parked", "behind":
		default:
			return errors.New("no such end: " + end)
		}
	}
	return nil
}
