// Package fault is what can be made to go wrong at a simulated vendor: which requests it hits, how
// often, and what it does to an answer. It knows no vendor.
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind is a way of failing.
type Kind string

// The kinds. Those that refuse leave the request undone; those that spoil do it and spoil the answer.
const (
	Status       Kind = "status"       // status:N: refuse with the vendor's own error
	RetryAfter   Kind = "retry-after"  // retry-after:S: refuse with 429 and that wait
	Unauthorized Kind = "unauthorized" // refuse as if the credential were dead
	HTML         Kind = "html"         // refuse with a proxy's page, 200 text/html
	Redirect     Kind = "redirect"     // redirect:URL: refuse with 301
	Huge         Kind = "huge"         // refuse with a JSON answer of HugeBytes
	Hang         Kind = "hang"         // refuse by never answering, until the caller hangs up
	Slow         Kind = "slow"         // slow:S: do it, after S seconds
	Late         Kind = "late"         // late or late:S: answer 504 at once, do it S seconds afterwards
	Stale        Kind = "stale"        // do it on records as they were before their last change
	Newer        Kind = "newer"        // do it after what it asks about has changed once more
	Clock        Kind = "clock"        // clock:S: refuse with 429 and an instant, on a clock that is S seconds fast
	Reset        Kind = "reset"        // spoil: the connection breaks in the middle of the body
	Truncate     Kind = "truncate"     // spoil: half of the body, as if it were whole
	Rename       Kind = "rename"       // rename:a=b: spoil: keys a are called b
	Retype       Kind = "retype"       // retype:a=string: spoil: values of keys a have another type
	Duplicate    Kind = "duplicate"    // duplicate:N: webhooks only: sent N times more
	Reorder      Kind = "reorder"      // webhooks only: sent behind the one that follows
)

// Webhook begins the pattern of a fault that strikes webhooks in place of requests: "WEBHOOK
// envelope-*". Of the kinds above, late strikes them too: sent S seconds afterwards.
const Webhook = "WEBHOOK "

const (
	// HugeBytes is how long a huge answer goes on: above every limit that a client may have.
	HugeBytes = 10 << 30
	// lateAfter is how long after its 504 a late request is done, where the fault does not say.
	lateAfter = time.Second
	// secondsMax bounds waits, so that a typing error does not hold a request for years.
	secondsMax = 3600
	// copiesMax bounds how often a webhook is sent again.
	copiesMax = 1000
)

// Effect is a kind with its arguments.
type Effect struct {
	Kind     Kind
	Code     int           // Status; Duplicate: how many copies
	Wait     time.Duration // RetryAfter, Slow, Late; Clock: how fast it is, below zero where it is slow
	URL      string        // Redirect
	From, To string        // Rename: key and new key; Retype: key and type
}

// Parse reads a fault as control calls write it: kind or kind:argument.
func Parse(text string) (Effect, error) {
	name, arg, hasArg := strings.Cut(text, ":")
	e := Effect{Kind: Kind(name)}
	var err error
	switch e.Kind {
	case Unauthorized, HTML, Huge, Hang, Stale, Newer, Reset, Truncate, Reorder:
		if hasArg {
			err = errors.New("it takes no argument")
		}
	case Status:
		e.Code, err = strconv.Atoi(arg)
		if err != nil || e.Code < 200 || e.Code > 599 {
			err = errors.New("write a status from 200 to 599, as in status:503")
		}
	case Duplicate:
		e.Code, err = strconv.Atoi(arg)
		if err != nil || e.Code < 1 || e.Code > copiesMax {
			err = fmt.Errorf("write how many copies, from 1 to %d, as in duplicate:2", copiesMax)
		}
	case RetryAfter, Slow:
		e.Wait, err = seconds(arg)
	case Clock:
		fast, slow := strings.CutPrefix(arg, "-")
		if e.Wait, err = seconds(fast); slow {
			e.Wait = -e.Wait
		}
	case Late:
		e.Wait = lateAfter
		if hasArg {
			e.Wait, err = seconds(arg)
		}
	case Redirect:
		e.URL = arg
		if _, parseErr := url.Parse(arg); parseErr != nil || arg == "" { // Parse refuses line ends
			err = errors.New("write a URL, as in redirect:http://127.0.0.1:1/")
		}
	case Rename, Retype:
		e.From, e.To, hasArg = strings.Cut(arg, "=")
		switch {
		case !hasArg || e.From == "" || e.To == "":
			err = fmt.Errorf("write two words, as in %s:status=%s", name, map[Kind]string{Rename: "state", Retype: "number"}[e.Kind])
		case e.Kind == Retype && converters[e.To] == nil:
			err = errors.New("the types are string, number, null, array and object")
		}
	default:
		err = errors.New("there are status:N retry-after:S unauthorized html redirect:URL huge hang slow:S late[:S] " +
			"stale newer clock:S reset truncate rename:a=b retype:a=type duplicate:N reorder")
	}
	if err != nil {
		return Effect{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return e, nil
}

func seconds(arg string) (time.Duration, error) {
	s, err := strconv.ParseFloat(arg, 64)
	if err != nil || !(s >= 0 && s <= secondsMax) {
		return 0, fmt.Errorf("write seconds from 0 to %d", secondsMax)
	}
	return time.Duration(s * float64(time.Second)), nil
}

// matches compares a request with a pattern like "GET /api/files/*": method and path, where * stands
// for any characters, slashes too. A pattern with a ? is compared with path and query. Empty matches
// every request.
func matches(pattern string, r *http.Request) bool {
	if pattern == "" {
		return true
	}
	text := r.Method + " " + r.URL.Path
	if strings.Contains(pattern, "?") {
		text += "?" + r.URL.RawQuery
	}
	return glob(pattern, text)
}

func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, found := strings.CutPrefix(text, parts[0])
	if !found {
		return false
	}
	last := parts[len(parts)-1]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return len(rest) >= len(last) && strings.HasSuffix(rest, last)
}
