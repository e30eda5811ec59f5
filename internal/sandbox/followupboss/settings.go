package followupboss

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// identity says whose key it is.
func (f *api) identity(w http.ResponseWriter, r *http.Request, a world.Account) {
	owner := f.found(f.base.Records.As(r.Context()), a, Users, func(u map[string]any) bool { return u["isOwner"] == true })
	if len(owner) == 0 {
		missing(w, "owner")
		return
	}
	reply.JSON(w, http.StatusOK, map[string]any{
		"account": map[string]any{"id": a.ExternalID, "domain": a.Tenant, "owner": owner[0]["name"]},
		"user":    owner[0],
	})
}

func (f *api) createStage(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	name, _ := body["name"].(string)
	if strings.TrimSpace(name) == "" {
		refuse(w, http.StatusBadRequest, "A stage needs a name.")
		return
	}
	if _, taken := f.stage(f.base.Records.Now(), a, "name", name); taken {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("A stage with the name %q exists.", name))
		return
	}
	f.answerCreated(w, a, Stages, map[string]any{"name": name, "orderWeight": 9000, "isProtected": false})
}

// stage finds a person's stage by a field.
func (f *api) stage(v records.View, a world.Account, by string, want any) (map[string]any, bool) {
	found := f.found(v, a, Stages, func(s map[string]any) bool { return reflect.DeepEqual(s[by], want) })
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}

// dealStage finds a stage of a pipeline by its id.
func (f *api) dealStage(v records.View, a world.Account, id any) (pipeline, stage map[string]any) {
	for _, p := range f.found(v, a, Pipelines, func(map[string]any) bool { return true }) {
		stages, _ := p["stages"].([]any)
		for _, s := range stages {
			if s, ok := s.(map[string]any); ok && reflect.DeepEqual(s["id"], id) {
				return p, s
			}
		}
	}
	return nil, nil
}

// updatePipeline replaces a pipeline's stages; those without an id are new.
func (f *api) updatePipeline(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := reply.Object(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	stages, given := body["stages"].([]any)
	for _, s := range stages {
		s, ok := s.(map[string]any)
		name, _ := s["name"].(string)
		_, numbered := s["id"].(json.Number)
		switch {
		case !ok || name == "" || (s["id"] != nil && !numbered):
			refuse(w, http.StatusBadRequest, "A stage needs a name, and its id if it has one.")
			return
		case !numbered:
			s["id"] = f.base.Records.NewID()
		}
	}
	f.answerChanged(w, a, Pipelines, r.PathValue("id"), func(old map[string]any, _ time.Time) map[string]any {
		patch := map[string]any{}
		if given {
			patch["stages"] = stages
		}
		if name, ok := body["name"].(string); ok {
			patch["name"] = name
		}
		return records.Merge(old, patch)
	})
}

// createField makes a custom field of people or deals from its label.
func (f *api) createField(kind string) handler {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		body, err := reply.Object(r)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		label, _ := body["label"].(string)
		name := fieldName(label)
		if name == "custom" {
			refuse(w, http.StatusBadRequest, "A custom field needs a label.")
			return
		}
		if f.hasField(a, kind, name) {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("A custom field with the name %q exists.", name))
			return
		}
		typ, _ := body["type"].(string)
		switch typ {
		case "text", "date", "number", "dropdown":
		default:
			refuse(w, http.StatusBadRequest, "The type of a custom field is text, date, number or dropdown.")
			return
		}
		f.answerCreated(w, a, kind, map[string]any{
			"name": name, "label": label, "type": typ, "choices": []any{}, "orderWeight": 9000, "hideIfEmpty": false, "readOnly": false,
		})
	}
}

func (f *api) hasField(a world.Account, kind, name string) bool {
	return len(f.found(f.base.Records.Now(), a, kind, func(c map[string]any) bool { return c["name"] == name })) > 0
}

// fieldName is a custom field's flat key: custom and the label's letters and digits.
func fieldName(label string) string {
	var out strings.Builder
	out.WriteString("custom")
	for word := range strings.FieldsFuncSeq(label, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		first, size := utf8.DecodeRuneInString(word)
		out.WriteRune(unicode.ToUpper(first))
		out.WriteString(word[size:])
	}
	return out.String()
}

// unknown names a field that a kind of record does not have; empty if there is none.
func (f *api) unknown(a world.Account, body map[string]any, known map[string]bool, custom string) string {
	for k := range body {
		if !known[k] && (!strings.HasPrefix(k, "custom") || !f.hasField(a, custom, k)) {
			return k
		}
	}
	return ""
}

func (f *api) answerCreated(w http.ResponseWriter, a world.Account, kind string, body map[string]any) {
	rec, err := f.create(a, kind, func(time.Time) map[string]any { return body })
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, http.StatusCreated, fields(rec.Body, ""))
}

// answerChanged changes a record that is there and answers with it.
func (f *api) answerChanged(w http.ResponseWriter, a world.Account, kind, id string, change func(old map[string]any, at time.Time) map[string]any) {
	rec, err := f.base.Records.Put(key(a, kind, id), func(old records.Record, at time.Time) (records.Change, error) {
		if !old.Exists() {
			return records.Change{}, errMissing
		}
		return records.Change{Body: change(old.Body, at)}, nil
	})
	switch {
	case errors.Is(err, errMissing):
		missing(w, kind)
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	default:
		reply.JSON(w, http.StatusOK, fields(rec.Body, ""))
	}
}

func idOf(body map[string]any) int64 {
	n, _ := body["id"].(json.Number)
	id, _ := n.Int64()
	return id
}
