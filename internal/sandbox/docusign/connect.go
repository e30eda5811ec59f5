package docusign

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

func connectKey(a world.Account, id string) records.Key {
	return records.Key{Account: a.Key(), Kind: Connect, ID: id}
}

// configurations are an account's, in the order in which they were made.
func (s *api) configurations(v records.View, a world.Account) []records.Record {
	return slices.DeleteFunc(v.List(a.Key(), Connect), func(rec records.Record) bool { return !rec.Exists() })
}

func (s *api) listConnect(w http.ResponseWriter, r *http.Request, a world.Account) {
	answerConnect(w, s.configurations(s.base.Records.As(r.Context()), a))
}

func (s *api) getConnect(w http.ResponseWriter, r *http.Request, a world.Account) {
	rec := s.base.Records.As(r.Context()).Get(connectKey(a, r.PathValue("id")))
	if !rec.Exists() {
		refuse(w, http.StatusNotFound, "there is no such configuration")
		return
	}
	answerConnect(w, []records.Record{rec})
}

func answerConnect(w http.ResponseWriter, found []records.Record) {
	list := make([]any, len(found))
	for i, rec := range found {
		list[i] = rec.Body
	}
	reply.JSON(w, http.StatusOK, map[string]any{"configurations": list, "totalRecords": strconv.Itoa(len(list))})
}

func (s *api) createConnect(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err == nil {
		err = publishable(body)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	rec, err := s.putConnect(a, strconv.FormatInt(s.base.Records.NewID(), 10), body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, http.StatusCreated, rec.Body)
}

// updateConnect merges a configuration into the one that its connectId names.
func (s *api) updateConnect(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	id := fmt.Sprint(body["connectId"]) // a number is taken, too
	rec := s.base.Records.Now().Get(connectKey(a, id))
	if !rec.Exists() {
		refuse(w, http.StatusNotFound, "there is no such configuration")
		return
	}
	if err := publishable(records.Merge(rec.Body, body)); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	rec, err = s.putConnect(a, id, body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, http.StatusOK, rec.Body)
}

func (s *api) deleteConnect(w http.ResponseWriter, r *http.Request, a world.Account) {
	was, err := s.base.Records.Delete(connectKey(a, r.PathValue("id")))
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	case !was:
		refuse(w, http.StatusNotFound, "there is no such configuration")
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// publishable says what is wrong with where a configuration publishes to: https, or this machine, or a
// neighbour in a network of containers, whose names have no dot.
func publishable(body map[string]any) error {
	to, err := url.Parse(text(body["urlToPublishTo"]))
	if err != nil || to.Hostname() == "" {
		return errors.New("urlToPublishTo is missing or no URL")
	}
	ip := net.ParseIP(to.Hostname())
	local := (ip == nil && !strings.Contains(to.Hostname(), ".")) || (ip != nil && ip.IsLoopback())
	if to.Scheme != "https" && (to.Scheme != "http" || !local) {
		return errors.New("urlToPublishTo is not https")
	}
	return nil
}

// putConnect merges a patch into a configuration, or makes it. What waits is tried at once: somebody
// may have mended it.
func (s *api) putConnect(a world.Account, id string, patch map[string]any) (records.Record, error) {
	if n, err := strconv.ParseInt(id, 10, 64); err != nil || n < 1 || strconv.FormatInt(n, 10) != id {
		return records.Record{}, fmt.Errorf("the id %q is no number from 1", id)
	}
	n, _ := strconv.ParseInt(id, 10, 64)
	s.base.Records.SkipTo(n)
	rec, err := s.base.Records.Put(connectKey(a, id), func(old records.Record, _ time.Time) (records.Change, error) {
		body := old.Body
		if !old.Exists() {
			body = map[string]any{
				"configurationType": "custom", "name": "", "deliveryMode": "SIM", "allowEnvelopePublish": "false", "allUsers": "false",
				"enableLog": "false", "requiresAcknowledgement": "false", "includeHMAC": "false", "events": []any{},
			}
		}
		body = records.Merge(body, patch)
		body["connectId"] = id
		return records.Change{Body: body}, nil
	})
	if err == nil {
		s.box(a, id).nudge()
	}
	return rec, err
}

// sends says whether a configuration publishes at all, in the one format that is simulated.
func sends(cfg map[string]any) bool {
	data, _ := cfg["eventData"].(map[string]any)
	mode := text(cfg["deliveryMode"])
	users, _ := cfg["userIds"].([]any)
	return truth(cfg["allowEnvelopePublish"]) && (mode == "" || strings.EqualFold(mode, "SIM")) &&
		text(data["version"]) == "restv2.1" && (truth(cfg["allUsers"]) || len(users) > 0)
}

// wants says whether a configuration is subscribed to an event.
func wants(cfg map[string]any, event string) bool {
	events, _ := cfg["events"].([]any)
	return sends(cfg) && slices.ContainsFunc(events, func(e any) bool { return strings.EqualFold(text(e), event) })
}

// listLogs lists every delivery as Connect's log does.
func (s *api) listLogs(w http.ResponseWriter, _ *http.Request, a world.Account) {
	s.answerLog(w, a, "logs", func(Delivery) bool { return true })
}

// listFailures lists the deliveries that were not taken.
func (s *api) listFailures(w http.ResponseWriter, _ *http.Request, a world.Account) {
	s.answerLog(w, a, "failures", Delivery.failing)
}

func (s *api) answerLog(w http.ResponseWriter, a world.Account, list string, hold func(Delivery) bool) {
	out := []any{}
	for _, d := range s.log.since(a.Key(), 0) {
		if !hold(d) {
			continue
		}
		id, status := strconv.FormatInt(d.N, 10), "Success"
		if d.Status != sent {
			status = "Failed"
		}
		entry := map[string]any{
			"accountId": a.ExternalID, "connectId": d.Config, "configUrl": d.URL, "envelopeId": d.Envelope, "subject": d.Event,
			"created": stamp(d.At), "retryCount": strconv.Itoa(max(0, d.Attempts-1)), "status": status, "error": d.Error,
			"logId": id, "logUri": "/connect/logs/" + id, "userName": "Olive Harrow", "email": email(a),
		}
		if d.failing() {
			entry["failureId"], entry["failureUri"] = id, "/connect/failures/"+id
			entry["retryUri"] = "/connect/envelopes/" + d.Envelope + "/retry_queue"
		}
		out = append(out, entry)
	}
	reply.JSON(w, http.StatusOK, map[string]any{list: out, "totalRecords": strconv.Itoa(len(out))})
}

// retry sends again what failed of one envelope, or of those that the body names.
func (s *api) retry(w http.ResponseWriter, r *http.Request, a world.Account) {
	ids := []string{strings.ToLower(r.PathValue("id"))}
	if ids[0] == "" {
		var in struct {
			EnvelopeIDs []string `json:"envelopeIds"`
		}
		if err := reply.Into(r, &in); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		ids = ids[:0]
		for _, id := range in.EnvelopeIDs {
			ids = append(ids, strings.ToLower(id))
		}
	}
	queued := []any{}
	for _, d := range s.log.since(a.Key(), 0) {
		if d.Status != failed || !slices.Contains(ids, d.Envelope) {
			continue
		}
		rec := s.base.Records.Now().Get(envelopeKey(a, d.Envelope))
		s.log.change(d.N, func(d *Delivery) { d.Status = waiting })
		s.box(a, d.Config).add(&message{n: d.N, happening: happening{d.Event, d.Recipient}, envelope: rec.Body, at: d.At})
		queued = append(queued, map[string]any{"configId": d.Config, "configUrl": d.URL, "envelopeId": d.Envelope, "status": "queued"})
	}
	reply.JSON(w, http.StatusOK, map[string]any{"retryQueue": queued})
}
