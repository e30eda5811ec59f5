package judge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conveyance/internal/sandbox/truth"
)

// crmDeal and crmPerson are the CRM's records as its API answers them.
type crmDeal struct {
	ID                 int64   `json:"id"`
	Ref                string  `json:"customConveyanceKey"`
	Stage              string  `json:"stageName"`
	Price              float64 `json:"price"`
	ProjectedCloseDate string  `json:"projectedCloseDate"`
	People             []any   `json:"people"`
}

type crmPerson struct {
	ID     int64  `json:"id"`
	Stage  string `json:"stage"`
	Emails []struct {
		Value string `json:"value"`
	} `json:"emails"`
	Phones []struct {
		Value string `json:"value"`
	} `json:"phones"`
}

// references are the tenants by the references of the deals that are linked.
func (b Bench) references(ctx context.Context, all truth.Truth) (map[string]string, error) {
	refs := map[string]string{}
	for tenant := range all.Tenants {
		var deals []crmDeal
		if err := b.records(ctx, "deals", tenant, &deals); err != nil {
			return nil, err
		}
		links, err := b.dealLinks(ctx, tenant)
		if err != nil {
			return nil, err
		}
		linked := map[int64]bool{}
		for _, id := range links {
			linked[id] = true
		}
		for _, d := range deals {
			if d.Ref != "" && linked[d.ID] {
				refs[d.Ref] = tenant
			}
		}
	}
	return refs, nil
}

// crm compares deals and people; refs are the tenants by the references of their deals.
func (b Bench) crm(ctx context.Context, v *Verdict, tenant string, all truth.Truth, refs map[string]string) error {
	if err := b.crmDeals(ctx, v, tenant, all.Tenants[tenant], refs); err != nil {
		return err
	}
	return b.crmPeople(ctx, v, tenant, all)
}

func (b Bench) crmDeals(ctx context.Context, v *Verdict, tenant string, t truth.Tenant, refs map[string]string) error {
	var deals []crmDeal
	if err := b.records(ctx, "deals", tenant, &deals); err != nil {
		return err
	}
	links, err := b.dealLinks(ctx, tenant)
	if err != nil {
		return err
	}
	linked := map[int64]string{}
	for key, id := range links {
		linked[id] = key
	}
	byID, byRef := map[int64]crmDeal{}, map[string]int{}
	for _, d := range deals { // a reference is the product's pseudonym of a deal, which only its links explain
		byID[d.ID] = d
		key := linked[d.ID]
		_, known := t.Deals[key]
		switch byRef[d.Ref]++; {
		case d.Ref == "": // entered by a person
		case refs[d.Ref] != "" && refs[d.Ref] != tenant:
			v.Crossed = append(v.Crossed, fmt.Sprintf("CRM of %s has %s's deal with reference %s", tenant, refs[d.Ref], d.Ref))
		case byRef[d.Ref] > 1:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("CRM of %s has %d deals with reference %s", tenant, byRef[d.Ref], d.Ref))
		case key != "" && !strings.HasPrefix(key, tenant+"/"):
			v.Crossed = append(v.Crossed, fmt.Sprintf("CRM of %s has deal %s", tenant, key))
		case !known:
			v.Phantom = append(v.Phantom, fmt.Sprintf("CRM of %s has a deal that no vendor has: %d, with reference %s", tenant, d.ID, d.Ref))
		}
	}
	for key, deal := range t.Deals {
		want := deal.FollowUpBoss
		id, known := links[key]
		got, there := byID[id]
		switch {
		case want.Deal == nil && there && !want.Optional:
			v.Phantom = append(v.Phantom, "CRM has deal "+key+", which should have no effect")
		case want.Deal != nil && (!known || !there) && !want.Optional:
			v.Lost = append(v.Lost, "CRM has no deal "+key)
		case want.Deal != nil && there:
			v.Effects++
			if diff := dealDiff(*want.Deal, got); diff != "" {
				v.Misordered = append(v.Misordered, fmt.Sprintf("CRM deal %s: %s", key, diff))
			}
		}
	}
	return nil
}

func dealDiff(want truth.CRMDeal, got crmDeal) string {
	var diff []string
	if !slices.Contains(want.Stages, got.Stage) {
		diff = append(diff, fmt.Sprintf("stage is %q, not one of %q", got.Stage, want.Stages))
	}
	if want.Price != nil && *want.Price != got.Price {
		diff = append(diff, fmt.Sprintf("price is %v, not %v", got.Price, *want.Price))
	}
	if want.ProjectedCloseDate != nil && !strings.HasPrefix(got.ProjectedCloseDate, *want.ProjectedCloseDate) {
		diff = append(diff, fmt.Sprintf("projectedCloseDate is %q, not %q", got.ProjectedCloseDate, *want.ProjectedCloseDate))
	}
	if want.People != len(got.People) {
		diff = append(diff, fmt.Sprintf("it has %d people, not %d", len(got.People), want.People))
	}
	return strings.Join(diff, "; ")
}

func (b Bench) crmPeople(ctx context.Context, v *Verdict, tenant string, all truth.Truth) error {
	var people []crmPerson
	if err := b.records(ctx, "people", tenant, &people); err != nil {
		return err
	}
	notes, err := b.notes(ctx, tenant)
	if err != nil {
		return err
	}
	reach := map[string][]crmPerson{}
	for _, p := range people {
		for _, e := range p.Emails {
			reach[strings.ToLower(e.Value)] = append(reach[strings.ToLower(e.Value)], p)
		}
		if len(p.Emails) == 0 {
			for _, f := range p.Phones {
				reach[digits(f.Value)] = append(reach[digits(f.Value)], p)
			}
		}
	}
	ours := map[string]bool{}
	for who, want := range all.Tenants[tenant].People {
		v.People++
		ours[reached(who)] = true
		person(v, tenant, who, want, reach[reached(who)], notes)
	}
	for other, t := range all.Tenants {
		for who := range t.People {
			if at := reached(who); other != tenant && !ours[at] && len(reach[at]) > 0 {
				v.Crossed = append(v.Crossed, fmt.Sprintf("CRM of %s has person %s of %s", tenant, who, other))
			}
		}
	}
	return nil
}

// reached is what a person is found by.
func reached(who string) string {
	if strings.Contains(who, "@") {
		return who
	}
	return digits(who)
}

func person(v *Verdict, tenant, who string, want truth.Person, got []crmPerson, notes map[int64]int) {
	switch {
	case len(got) == 0 && !want.Optional:
		v.Lost = append(v.Lost, fmt.Sprintf("CRM of %s has no person %s", tenant, who))
	case len(got) > 1:
		v.Duplicated = append(v.Duplicated, fmt.Sprintf("CRM of %s has %d people for %s", tenant, len(got), who))
	case len(got) == 1:
		v.Effects++
		if !slices.Contains(want.Stages, got[0].Stage) {
			v.Misordered = append(v.Misordered, fmt.Sprintf("CRM person %s of %s has stage %q, not one of %q", who, tenant, got[0].Stage, want.Stages))
		}
		if want.Notes == nil {
			return
		}
		v.Effects += *want.Notes
		switch n := notes[got[0].ID]; {
		case n < *want.Notes:
			v.Lost = append(v.Lost, fmt.Sprintf("CRM person %s of %s has %d notes of signatures, not %d", who, tenant, n, *want.Notes))
		case n > *want.Notes:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("CRM person %s of %s has %d notes of signatures, not %d", who, tenant, n, *want.Notes))
		}
	}
}

// notes are how many notes of signatures each person has.
func (b Bench) notes(ctx context.Context, tenant string) (map[int64]int, error) {
	var all []struct {
		PersonID int64  `json:"personId"`
		Subject  string `json:"subject"`
	}
	if err := b.records(ctx, "notes", tenant, &all); err != nil {
		return nil, err
	}
	out := map[int64]int{}
	for _, n := range all {
		if n.Subject == "Document signed" {
			out[n.PersonID]++
		}
	}
	return out, nil
}

// digits are the last ten of a telephone number: the CRM keeps numbers as people write them.
func digits(text string) string {
	var d strings.Builder
	for _, r := range text {
		if r >= '0' && r <= '9' {
			d.WriteRune(r)
		}
	}
	s := d.String()
	return s[max(0, len(s)-10):]
}
