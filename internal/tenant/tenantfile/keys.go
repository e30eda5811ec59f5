package tenantfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/tenant"
)

// keyShape is a webhook key as it stands in a file.
type keyShape struct {
	ID        string `json:"id"`
	File      string `json:"file"`
	Env       string `json:"env"`
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
}

// system reads a vendor's file.
func (r *reader) system(root any) (tenant.Wanted, bool) {
	for _, b := range r.schemas.system.breaches(root, false) {
		keyNotHere(&b)
		r.breach(nil, b)
	}
	var s struct {
		System string     `json:"system"`
		Keys   []keyShape `json:"keys"`
	}
	if raw, err := json.Marshal(root); err == nil {
		_ = json.Unmarshal(raw, &s) // it goes on behind a value of another type, which is told
	}
	w := tenant.Wanted{System: s.System, At: r.value("/system")}
	if s.System != "" && !r.contract.Webhooks[s.System] {
		r.problem(w.At, fmt.Sprintf("no vendor %q signs webhooks", s.System), instead(s.System, slices.Collect(maps.Keys(r.contract.Webhooks))))
	}
	w.Keys = r.keys("/keys", s.Keys)
	w.Warnings = r.warnings
	return w, len(r.problems) == 0
}

// keyNotHere rewords a key of the file that looks like the secret itself.
func keyNotHere(b *breach) {
	if len(b.at) > 1 && b.at[len(b.at)-2] == "keys" && slices.Contains([]string{"key", "secret", "value"}, b.key) {
		b.what, b.remedy = "a key never stands in the file", "write file: … or env: … and put it there"
	}
}

// keys reads a list of webhook keys.
func (r *reader) keys(at string, list []keyShape) (keys []tenant.WantedWebhookKey) {
	now, live := time.Now, false
	if r.contract.Now != nil {
		now = r.contract.Now
	}
	seen := map[string]bool{}
	for i, k := range list {
		at := at + "/" + strconv.Itoa(i)
		out := tenant.WantedWebhookKey{ID: k.ID, NotBefore: r.instant(at, "not_before", k.NotBefore), NotAfter: r.instant(at, "not_after", k.NotAfter)}
		if seen[k.ID] && k.ID != "" {
			r.problem(r.value(at+"/id"), "key "+k.ID+" stands twice", "give one of them another id")
		}
		seen[k.ID] = true
		if !out.NotAfter.IsZero() && !out.NotBefore.Before(out.NotAfter) {
			r.problem(r.value(at+"/not_after"), "key "+k.ID+" ends before it begins", "correct not_before or not_after")
		}
		live = live || tenant.WebhookKey{NotBefore: out.NotBefore, NotAfter: out.NotAfter}.Live(now())
		r.keyText(at, k, &out)
		keys = append(keys, out)
	}
	if len(list) > 0 && !live {
		place := r.key(at)
		r.warnings = append(r.warnings, tenant.Problem{
			Place: place, What: "none of the keys is live now: every delivery that they sign is refused", Remedy: "add a key, or correct not_before and not_after",
		})
	}
	return keys
}

// keyText reads the key literally: what looks like base64 is no base64. Only the line's end that
// editors add is taken off.
func (r *reader) keyText(at string, k keyShape, out *tenant.WantedWebhookKey) {
	ref := reference{k.File, k.Env}
	switch {
	case k.File == "" && k.Env == "":
		r.problem(r.value(at), "key "+k.ID+" has no reference", "write file: … or env: …")
		return
	case k.File != "" && k.Env != "":
		r.problem(r.value(at), "key "+k.ID+" has two references", "keep file or env")
		return
	}
	where := r.value(at + "/" + strings.Fields(ref.String())[0])
	out.Source = ref.String()
	text, err := r.text(ref)
	if err != nil {
		r.problem(where, err.Error(), "put the vendor's key there, as the vendor shows it")
		return
	}
	out.Key = bytes.TrimRight(text, "\r\n")
	if len(out.Key) == 0 {
		r.problem(where, ref.String()+" is empty", "put the vendor's key there, as the vendor shows it")
	}
}

func (r *reader) instant(at, name, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		r.problem(r.value(at+"/"+name), fmt.Sprintf("%s %q is not a time", name, text), "write it as 2026-01-31T00:00:00Z")
	}
	return when
}
