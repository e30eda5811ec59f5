// Package register is the list of vendors, one typed line each. It is a package of its own since the
// vendors' folders import producers, which therefore cannot import them.
package register

import (
	"fmt"

	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/skyslope"
)

// Vendors returns every vendor. Two of one name are an error, as is a line without its parts.
func Vendors(d producers.Deps) ([]producers.Vendor, error) {
	return build(d,
		docusign.New,
		skyslope.New,
	)
}

func build(d producers.Deps, lines ...func(producers.Deps) (producers.Vendor, error)) ([]producers.Vendor, error) {
	var out []producers.Vendor
	names := map[string]bool{}
	for i, line := range lines {
		v, err := line(d)
		switch {
		case err != nil:
			return nil, fmt.Errorf("making vendor %d of the register: %w", i+1, err)
		case v.Name == "" || v.Mapper == nil || len(v.Kinds) == 0:
			return nil, fmt.Errorf("vendor %d of the register lacks its name, mapper or kinds", i+1)
		case names[v.Name]:
			return nil, fmt.Errorf("two vendors of the register are named %s", v.Name)
		}
		names[v.Name] = true
		out = append(out, v)
	}
	return out, nil
}
