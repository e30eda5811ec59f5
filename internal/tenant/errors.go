package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnknown means that no tenant has this id.
var ErrUnknown = errors.New("no such tenant: conveyance tenant list shows them")

// ErrUnknownAccount means that a tenant has no such account.
var ErrUnknownAccount = errors.New("no such account: conveyance tenant list shows them")

// Place is where something stands in a tenant's file. Line and Column count from 1; 0 = the file.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing that is wrong in a tenant's file, with what to do about it. It holds no
// secret.
type Problem struct {
	Place
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

func (p Problem) String() string { return p.Place.String() + ": " + p.What + ": " + p.Remedy }

// Problems are everything that is wrong in all files, by place. As an error it names each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps)+1)
	if len(ps) == 1 {
		return ps[0].String()
	}
	lines = append(lines, fmt.Sprintf("%d problems in the tenants' files:", len(ps)))
	for _, p := range ps {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// OrNil returns the problems in the order of their places as an error, nil where there are none.
func (ps Problems) OrNil() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return ps
}
