package docusign

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// stampLayout is how instants are written: UTC, seven digits.
const stampLayout = "2006-01-02T15:04:05.0000000Z"

// roles are the lists of recipients, in the vendor's order.
func roles() []string {
	return []string{
		"signers", "agents", "editors", "intermediaries", "carbonCopies", "certifiedDeliveries", "inPersonSigners", "seals", "witnesses",
	}
}

// emptyEnvelope is what an envelope holds before anybody writes into it.
func emptyEnvelope(a world.Account, id string, at time.Time) map[string]any {
	uri := "/envelopes/" + id
	return map[string]any{
		"envelopeId": id, "envelopeUri": uri, "status": "created", "emailSubject": "Please sign", "createdDateTime": stamp(at),
		"documentsUri": uri + "/documents", "recipientsUri": uri + "/recipients", "customFieldsUri": uri + "/custom_fields",
		"notificationUri": uri + "/notification", "attachmentsUri": uri + "/attachments", "templatesUri": uri + "/templates",
		"documentsCombinedUri": uri + "/documents/combined", "certificateUri": uri + "/documents/certificate",
		"signingLocation": "online", "enableWetSign": "true", "allowReassign": "true", "allowMarkup": "false", "autoNavigation": "true",
		"isSignatureProviderEnvelope": "false", "is21CFRPart11": "false", "purgeState": "unpurged", "envelopeLocation": "current_site",
		"expireEnabled": "true", "expireAfter": "120", "anySigner": nil,
		"sender":       map[string]any{"userName": "Olive Harrow", "userId": user(a), "accountId": a.ExternalID, "email": email(a)},
		"customFields": map[string]any{"textCustomFields": []any{}, "listCustomFields": []any{}},
		"recipients":   map[string]any{}, "envelopeDocuments": []any{},
	}
}

// guid is the form of an envelope's id.
var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// put merges a patch into a record for a control call. An envelope's modified time moves, its
// statusChangedDateTime with its status, what the vendor fills in is filled in, and Connect tells
// what happened.
func (s *api) put(a world.Account, kind, id string, patch map[string]any) (records.Record, error) {
	if kind == Connect {
		return s.putConnect(a, id, patch)
	}
	id = strings.ToLower(id)
	if !guid.MatchString(id) {
		return records.Record{}, fmt.Errorf("the id %q is no GUID", id)
	}
	var told []happening
	rec, err := s.base.Records.Put(envelopeKey(a, id), func(old records.Record, at time.Time) (records.Change, error) {
		body := old.Body
		if !old.Exists() {
			body = emptyEnvelope(a, id, at)
		}
		before, next := body, records.Merge(body, patch)
		next["envelopeId"], next["lastModifiedDateTime"] = id, stamp(at)
		status, _ := next["status"].(string)
		if status == "" {
			return records.Change{}, errors.New("the status is empty or no text")
		}
		if status != before["status"] || !old.Exists() {
			next["statusChangedDateTime"] = stamp(at)
			if _, given := patch[status+"DateTime"]; !given && status != "created" {
				next[status+"DateTime"] = stamp(at)
			}
		}
		next["recipients"] = recipients(before, next, stamp(at))
		told = happenings(before, next)
		return records.Change{Body: next, State: status}, nil
	})
	if err == nil {
		s.tell(a, rec, told)
	}
	return rec, err
}

func envelopeKey(a world.Account, id string) records.Key {
	return records.Key{Account: a.Key(), Kind: Envelopes, ID: id}
}

func stamp(at time.Time) string { return at.UTC().Format(stampLayout) }

// recipients lays the recipients of an envelope over those that it had, and fills in what the vendor
// adds.
func recipients(before, after map[string]any, now string) map[string]any {
	had := map[any]map[string]any{}
	for _, r := range everybody(before) {
		had[r["recipientId"]] = r
	}
	all, _ := after["recipients"].(map[string]any)
	out := records.Merge(all, nil)
	n, order := 0, 0
	for _, role := range roles() {
		list := []any{}
		for _, r := range objects(all[role]) {
			n++
			id := fmt.Sprint(cmp.Or(r["recipientId"], any(strconv.Itoa(n)))) // a number is taken, too
			r = records.Merge(had[id], r)
			r["recipientId"], r["recipientIdGuid"] = id, world.GUID("recipient", text(after["envelopeId"]), id)
			r = recipient(r, now)
			list = append(list, r)
			if place, err := strconv.Atoi(fmt.Sprint(r["routingOrder"])); err == nil && !done(r) && (order == 0 || place < order) {
				order = place
			}
		}
		out[role] = list
	}
	out["recipientCount"], out["currentRoutingOrder"] = strconv.Itoa(n), strconv.Itoa(max(1, order))
	return out
}

// recipient is one of them with the times that its status implies.
func recipient(given map[string]any, now string) map[string]any {
	r := records.Merge(map[string]any{
		"routingOrder": "1", "status": "created", "isBulkRecipient": "false", "deliveryMethod": "email",
	}, given)
	fill := func(fields ...string) {
		for _, f := range fields {
			if r[f] == nil {
				r[f] = now
			}
		}
	}
	switch r["status"] {
	case "completed", "signed":
		fill("sentDateTime", "deliveredDateTime", "signedDateTime")
	case "declined":
		fill("sentDateTime", "deliveredDateTime", "declinedDateTime")
	case "delivered":
		fill("sentDateTime", "deliveredDateTime")
	case "sent":
		fill("sentDateTime")
	}
	return r
}

func done(r map[string]any) bool {
	return slices.Contains([]any{"completed", "signed", "declined"}, r["status"])
}

func objects(list any) []map[string]any {
	items, _ := list.([]any)
	var out []map[string]any
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// happening is an event of Connect. Recipient is the id of whom it is about; empty for the envelope.
type happening struct{ event, recipient string }

// happenings are what a change means, those of recipients first.
func happenings(before, after map[string]any) []happening {
	was := map[any]any{}
	for _, r := range everybody(before) {
		was[r["recipientIdGuid"]] = r["status"]
	}
	var out []happening
	for _, r := range everybody(after) {
		status, _ := r["status"].(string)
		if status == "signed" {
			status = "completed" // signed passes
		}
		old := was[r["recipientIdGuid"]]
		if status != old && (old != "signed" || status != "completed") && status != "created" {
			out = append(out, happening{"recipient-" + status, fmt.Sprint(r["recipientId"])})
		}
	}
	status, _ := after["status"].(string)
	switch {
	case status != before["status"]:
		out = append(out, happening{event: "envelope-" + status})
	case len(out) == 0 && (status == "sent" || status == "delivered"):
		out = append(out, happening{event: "envelope-corrected"})
	}
	return out
}

func everybody(envelope map[string]any) []map[string]any {
	all, _ := envelope["recipients"].(map[string]any)
	var out []map[string]any
	for _, role := range roles() {
		out = append(out, objects(all[role])...)
	}
	return out
}

// envelope answers with a part of one envelope.
func (s *api) envelope(part func(body map[string]any, include []string) any) handler {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		id := strings.ToLower(r.PathValue("id"))
		if s.polled(w, r, a, id) {
			return
		}
		rec := s.base.Records.As(r.Context()).Get(envelopeKey(a, id))
		if !rec.Exists() {
			fail(w, http.StatusNotFound, "ENVELOPE_DOES_NOT_EXIST", "there is no such envelope in this account")
			return
		}
		reply.JSON(w, http.StatusOK, part(rec.Body, strings.Split(r.URL.Query().Get("include"), ",")))
	}
}

// envelopeOf is an envelope with the parts that were asked for.
func envelopeOf(body map[string]any, include []string) any {
	out := records.Merge(body, nil)
	for field, word := range map[string]string{"recipients": "recipients", "customFields": "custom_fields", "envelopeDocuments": "documents"} {
		if !slices.ContainsFunc(include, func(w string) bool { return strings.TrimSpace(w) == word }) {
			delete(out, field)
		}
	}
	if out["envelopeDocuments"] != nil {
		out["envelopeDocuments"] = documents(body)
	}
	return out
}

func recipientsOf(body map[string]any, _ []string) any { return body["recipients"] }

func customFieldsOf(body map[string]any, _ []string) any { return body["customFields"] }

func documentsOf(body map[string]any, _ []string) any {
	return map[string]any{"envelopeId": body["envelopeId"], "envelopeDocuments": documents(body)}
}

// documents are an envelope's, and behind them the certificate that the vendor makes.
func documents(body map[string]any) []any {
	out := []any{}
	uri := "/envelopes/" + fmt.Sprint(body["envelopeId"]) + "/documents/"
	for i, d := range objects(body["envelopeDocuments"]) {
		id := strconv.Itoa(i + 1)
		out = append(out, records.Merge(map[string]any{
			"documentId": id, "type": "content", "order": id, "display": "inline", "includeInDownload": "true", "uri": uri + id,
		}, d))
	}
	if len(out) > 0 {
		out = append(out, map[string]any{
			"documentId": "certificate", "name": "Summary", "type": "summary", "order": "999", "display": "inline",
			"includeInDownload": "true", "uri": uri + "certificate",
		})
	}
	return out
}

// texts is a value with every leaf as text, as Connect writes an envelope's summary; null stays.
func texts(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			out[k] = texts(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = texts(inner)
		}
		return out
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	default:
		return v
	}
}
