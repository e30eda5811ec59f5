// Package register is the list of vendors, one typed line each. It is a package of its own since the
// vendors' folders import producers, which therefore cannot import them.
package register

import (
	"fmt"

	"conveyance/internal/vendorhttp"
	"conveyance/producers"
	"conveyance/producers/skyslope"
)

// Deps are what vendors' folders work with.
type Deps struct {
	// HTTP makes their calls. Nil where only mappers are used.
	HTTP vendorhttp.Doer
}

// Vendors returns every vendor. Two of one name are an error, as is a line without its parts.
func Vendors(d Deps) ([]producers.Vendor, error) {
	return build(d.HTTP,
		skyslope.New,
	)
}

func build(do vendorhttp.Doer, lines ...func(vendorhttp.Doer) (producers.Vendor, error)) ([]producers.Vendor, error) {
	var out []producers.Vendor
	names := map[string]bool{}
	for i, line := range lines {
		v, err := line(do)
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
