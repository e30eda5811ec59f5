package followupboss

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/quota"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// window is how long the limits look back.
const window = 10 * time.Second

// limit is one context: every endpoint belongs to exactly one.
type limit struct {
	Context string `json:"context"`
	// Max requests within window for a registered system; 0 = unlimited.
	Max int `json:"limit"`
	// unregistered is Max for everybody else.
	unregistered int
}

// limits are the documented defaults.
func limits() []limit {
	return []limit{
		{"global", 250, 125},
		{"events", 20, 10},
		{"POST.events", 0, 0},
		{"PUT.people", 25, 25},
		{"notes", 10, 10},
		{"rateLimits", 20, 20},
	}
}

// contextOf is the context of a request.
func contextOf(r *http.Request) string {
	what, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	switch {
	case what == "events" && r.Method == http.MethodPost:
		return "POST.events"
	case what == "people" && r.Method == http.MethodPut:
		return "PUT.people"
	case what == "events", what == "notes":
		return what
	case what == "rateLimit":
		return "rateLimits"
	default:
		return "global"
	}
}

// within lets a request through that has a valid key and fits its context's limit.
func (f *api) within(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := f.caller(r)
		if a.Tenant == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="API"`)
			refuse(w, http.StatusUnauthorized, "Invalid API key.")
			return
		}
		name := contextOf(r)
		w.Header().Set("X-RateLimit-Context", name)
		if win, counted := f.counted(a, name, registered(r, a)); counted {
			left := win.Take(f.base.Clock())
			w.Header().Set("X-RateLimit-Limit", strconv.Itoa(win.Limit))
			w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(left.Remaining))
			w.Header().Set("X-RateLimit-Window", strconv.Itoa(int(win.Span.Seconds())))
			if !left.OK {
				world.Remark(r.Context(), world.OverQuota)
				w.Header().Set("Retry-After", reply.Seconds(left.After))
				refuse(w, http.StatusTooManyRequests, "Rate limit exceeded. The request was not processed.")
				return
			}
		}
		h(w, r, a)
	}
}

// counted is the window of a context; false where the context has no limit.
func (f *api) counted(a world.Account, name string, registered bool) (*quota.Window, bool) {
	for _, l := range limits() {
		if l.Context != name || l.Max == 0 {
			continue
		}
		most := l.Max
		if !registered {
			most = l.unregistered
		}
		return f.windows.Of(a.Key()+" "+name+" "+strconv.Itoa(most), most, f.base.Window(window)), true
	}
	return nil, false
}

// onlyRegistered answers 403 to systems without a key.
func onlyRegistered(w http.ResponseWriter, r *http.Request, a world.Account) bool {
	if !registered(r, a) {
		refuse(w, http.StatusForbidden, "Only registered systems can use this endpoint.")
		return false
	}
	return true
}

// limits answers with the real limits of the caller.
func (f *api) limits(w http.ResponseWriter, r *http.Request, a world.Account) {
	if onlyRegistered(w, r, a) {
		reply.JSON(w, http.StatusOK, map[string]any{"window": int(f.base.Window(window).Seconds()), "limits": limits()})
	}
}

// usage answers with what the windows hold now.
func (f *api) usage(w http.ResponseWriter, r *http.Request, a world.Account) {
	if !onlyRegistered(w, r, a) {
		return
	}
	used := []map[string]any{}
	for _, l := range limits() {
		if win, counted := f.counted(a, l.Context, true); counted {
			used = append(used, map[string]any{"context": l.Context, "limit": l.Max, "used": win.Used(f.base.Clock())})
		}
	}
	reply.JSON(w, http.StatusOK, map[string]any{"window": int(f.base.Window(window).Seconds()), "usage": used})
}
