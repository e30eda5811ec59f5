package sandbox

import (
	"conveyance/internal/sandbox/docusign"
	"conveyance/internal/sandbox/followupboss"
	"conveyance/internal/sandbox/skyslope"
	"conveyance/internal/sandbox/world"
)

// vendors are the simulated vendors: one folder and one line each.
func vendors() []func(world.Base) (world.Vendor, error) {
	return []func(world.Base) (world.Vendor, error){
		skyslope.New,
		followupboss.New,
		docusign.New,
	}
}
