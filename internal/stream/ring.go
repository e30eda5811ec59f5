package stream

// ring holds ready records so that tenants take turns, each first in, first out.
type ring struct {
	tenants []string // those with ready records, in the order of their turns
	ready   map[string][]*task
	inUse   map[string]int // slots per tenant
}

func newRing() ring { return ring{ready: map[string][]*task{}, inUse: map[string]int{}} }

func (r *ring) push(t *task) {
	if len(r.ready[t.tenant]) == 0 {
		r.tenants = append(r.tenants, t.tenant)
	}
	r.ready[t.tenant] = append(r.ready[t.tenant], t)
}

// next takes the record of the tenant whose turn it is; a tenant with limit slots is passed over.
func (r *ring) next(limit int) *task {
	for i, tenant := range r.tenants {
		if r.inUse[tenant] >= limit {
			continue
		}
		list := r.ready[tenant]
		t := list[0]
		r.tenants = append(r.tenants[:i], r.tenants[i+1:]...)
		if list = list[1:]; len(list) > 0 {
			r.ready[tenant] = list
			r.tenants = append(r.tenants, tenant)
		} else {
			delete(r.ready, tenant)
		}
		return t
	}
	return nil
}

func (r *ring) hold(tenant string) { r.inUse[tenant]++ }

func (r *ring) release(tenant string) {
	if r.inUse[tenant]--; r.inUse[tenant] == 0 {
		delete(r.inUse, tenant)
	}
}
