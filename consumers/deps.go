package consumers

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
)

// Deps are what a destination may use. It takes what it needs and keeps nothing else.
type Deps struct {
	Pool    *pgxpool.Pool
	Schema  string // the destination's own, for {schema} in its statements
	Tenants tenant.Directory
	HTTP    vendorhttp.Doer // within the accounts' budgets; gates a refused account by itself
	Budget  budget.Budget
	Log     *zap.Logger
	Metrics prometheus.Registerer
}
