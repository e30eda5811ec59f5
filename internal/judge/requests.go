package judge

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"conveyance/internal/sandbox/truth"
)

// request is a line of a simulated vendor's journal.
type request struct {
	N       int64  `json:"n"`
	Account string `json:"account"` // tenant/account; empty = unknown credential
	Method  string `json:"method"`
	Path    string `json:"path"`
	Status  int    `json:"status"`
	Fault   string `json:"fault"` // that struck it
}

func vendors() []string { return []string{"docusign", "followupboss", "skyslope"} }

// requests looks at what the vendors were asked: nobody for another tenant's record, and nobody more
// often than its quota allows.
func (b Bench) requests(ctx context.Context, v *Verdict, want truth.Truth) error {
	owner := owners(want)
	for _, vendor := range vendors() {
		var all []request
		if err := b.get(ctx, "/_control/"+vendor+"/requests", &all); err != nil {
			return err
		}
		for _, r := range all {
			tenant, _, _ := strings.Cut(r.Account, "/")
			for part := range strings.SplitSeq(r.Path, "/") {
				if whose := owner[part]; whose != "" && tenant != "" && whose != tenant {
					v.Crossed = append(v.Crossed, fmt.Sprintf("%s was asked by %s for %s's %s %s", vendor, tenant, whose, r.Method, r.Path))
				}
			}
			if b.Quota && r.Status == http.StatusTooManyRequests && r.Fault == "" {
				v.Overrun = append(v.Overrun, fmt.Sprintf("%s refused request %d of %s for its quota: %s %s", vendor, r.N, r.Account, r.Method, r.Path))
			}
		}
	}
	return nil
}

// owners are the tenants by the ids of their records, where one alone has the id.
func owners(want truth.Truth) map[string]string {
	owner := map[string]string{}
	add := func(tenant, key string) {
		id := key[strings.LastIndexByte(key, '/')+1:]
		if was, known := owner[id]; known && was != tenant {
			tenant = ""
		}
		owner[id] = tenant
	}
	for tenant, t := range want.Tenants {
		for key := range t.Deals {
			add(tenant, key)
		}
		for key := range t.Envelopes {
			add(tenant, key)
		}
	}
	return owner
}
