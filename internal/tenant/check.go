package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"conveyance/internal/verdict"
)

// checksAtOnce of one run: enough for a hundred brokerages, few for a vendor.
const checksAtOnce = 8

// Check asks the vendors of tenants whether every account works as configured, with the checkers of
// each vendor, several accounts at once. It changes nothing. A vendor that cannot be asked is a
// finding too. Findings come by tenant and account.
func Check(ctx context.Context, tenants []Tenant, checkers map[string][]Checker) []Finding {
	var (
		mu       sync.Mutex
		findings []Finding
		wg       sync.WaitGroup
		slots    = make(chan struct{}, checksAtOnce)
	)
	for _, t := range tenants {
		for _, a := range t.Accounts {
			for _, c := range checkers[a.Vendor] {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					found := ask(ctx, c, t, a)
					mu.Lock()
					defer mu.Unlock()
					findings = append(findings, found...)
				})
			}
		}
	}
	wg.Wait()
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return strings.Compare(a.Tenant+"/"+a.Account+"\x00"+a.What, b.Tenant+"/"+b.Account+"\x00"+b.What)
	})
	return findings
}

func ask(ctx context.Context, c Checker, t Tenant, a Account) []Finding {
	a.Paused = false // a pause stops work, not questions
	found, err := c.Check(ctx, t, a)
	for i := range found {
		found[i].Tenant, found[i].Account = t.ID, a.Vendor+"/"+a.Name
	}
	if err == nil {
		return found
	}
	f := Finding{Tenant: t.ID, Account: a.Vendor + "/" + a.Name, What: fmt.Sprintf("the vendor gives no answer: %v", err), Remedy: "try again"}
	if v, ok := errors.AsType[*verdict.Error](err); ok && v.Kind == verdict.Hold {
		f.What, f.Remedy = fmt.Sprintf("%s: %v", v.Cause, v.Err), "mend the credential and apply it"
		if v.Err == nil {
			f.What = v.Cause
		}
		if link, ok := strings.CutPrefix(v.Cause, causeReconnect); ok {
			f.What, f.Remedy = "the vendor wants a person's consent", "connect the account again: "+link
		}
	}
	return append(found, f)
}
