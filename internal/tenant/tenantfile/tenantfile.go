// Package tenantfile reads tenants' YAML files, and those that say with which keys a vendor signs for
// the whole system: against the file's JSON Schema, each vendor's schema
// of its accounts and each destination's schema of its settings. It tells every problem of every
// file at once, each with its place and what to do. Secrets stand in the files as references only
// and never in a problem. It writes nothing and asks nobody outside the files it is given.
package tenantfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conveyance/internal/tenant"
)

// filesMax of one folder: a national franchise has hundreds.
const filesMax = 10_000

// File is a tenant's file. Name is its path: problems show it, and references to secrets start from
// its folder.
type File struct {
	Name string
	Data []byte
}

// Contract is what the files are held against, and where references lead.
type Contract struct {
	// Accounts is the JSON Schema of an account by vendor: {"credential": {...}, "settings": {...}}.
	Accounts map[string][]byte
	// Adapters by destination name.
	Adapters map[string]Adapter
	// Webhooks are the vendors that sign what they deliver; no other has webhook keys.
	Webhooks map[string]bool
	// CheckBase says why a base URL is not allowed. Default: all are.
	CheckBase func(base string) error
	// Env looks a variable up. Default: none is set.
	Env func(name string) (value string, ok bool)
	// Now is the clock that tells whether a key is live. Default: the machine's.
	Now func() time.Time
}

// Adapter is what a destination says of a tenant's adapters block.
type Adapter struct {
	Vendor   string // whose account it uses; empty = none
	Settings []byte // JSON Schema; empty = anything
}

// Load reads a file, or every *.yaml and *.yml in a folder (not below it), by name.
func Load(path string) ([]File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading tenant files: %w", err)
	}
	names := []string{path}
	if info.IsDir() {
		names = nil
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			found, err := filepath.Glob(filepath.Join(path, pattern))
			if err != nil {
				return nil, fmt.Errorf("reading tenant files: %w", err)
			}
			names = append(names, found...)
		}
		slices.Sort(names)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("reading tenant files: no *.yaml in %s", path)
	}
	if len(names) > filesMax {
		return nil, fmt.Errorf("reading tenant files: more than %d in %s", filesMax, path)
	}
	files := make([]File, 0, len(names))
	for _, name := range names {
		data, err := readBounded(name, fileBytesMax+1) // one more, so that too large a file is told as a problem
		if err != nil {
			return nil, fmt.Errorf("reading tenant files: %w", err)
		}
		files = append(files, File{Name: name, Data: data})
	}
	return files, nil
}

// Read understands files, or returns tenant.Problems with everything that is wrong in all of them.
// Any other error is of the contract, not of the files.
func Read(files []File, c Contract) ([]tenant.Wanted, error) {
	schemas, err := compile(c)
	if err != nil {
		return nil, err
	}
	var (
		wanted   []tenant.Wanted
		problems tenant.Problems
	)
	for _, f := range files {
		r := &reader{file: f, contract: c, schemas: schemas}
		if w, ok := r.read(); ok {
			wanted = append(wanted, w)
		}
		problems = append(problems, r.problems...)
	}
	problems = append(problems, between(wanted)...)
	return wanted, problems.OrNil()
}

// between finds what is wrong between files that are right by themselves.
func between(wanted []tenant.Wanted) (problems tenant.Problems) {
	tenants, systems := map[string]tenant.Place{}, map[string]tenant.Place{}
	for _, w := range wanted {
		if w.System != "" {
			if other, twice := systems[w.System]; twice {
				problems = append(problems, tenant.Problem{
					Place: w.At, What: fmt.Sprintf("the keys of %s stand in %s too", w.System, other.File), Remedy: "keep one file for a vendor",
				})
				continue
			}
			systems[w.System] = w.At
			continue
		}
		if other, twice := tenants[w.ID]; twice {
			problems = append(problems, tenant.Problem{
				Place: w.At, What: fmt.Sprintf("tenant %s stands in %s too", w.ID, other.File), Remedy: "keep one file for a tenant",
			})
			continue
		}
		tenants[w.ID] = w.At
	}
	return problems
}
