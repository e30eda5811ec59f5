package tenantfile

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed tenant.schema.json
var tenantSchema []byte

//go:embed system.schema.json
var systemSchema []byte

// schema is a compiled schema with its text, for the names of known keys.
type schema struct {
	compiled *jsonschema.Schema
	text     any
}

type schemas struct {
	file     *schema
	system   *schema
	accounts map[string]*schema
	settings map[string]*schema
}

func compile(c Contract) (*schemas, error) {
	s := &schemas{accounts: map[string]*schema{}, settings: map[string]*schema{}}
	var err error
	if s.file, err = compileOne("tenant", tenantSchema); err != nil {
		return nil, err
	}
	if s.system, err = compileOne("system", systemSchema); err != nil {
		return nil, err
	}
	for vendor, text := range c.Accounts {
		if s.accounts[vendor], err = compileOne("account "+vendor, text); err != nil {
			return nil, err
		}
	}
	for name, a := range c.Adapters {
		if s.settings[name], err = compileOne("settings "+name, a.Settings); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// compileOne compiles a schema; an empty one lets everything through.
func compileOne(name string, text []byte) (*schema, error) {
	if len(text) == 0 {
		text = []byte("{}")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the JSON Schema of %s: %w", name, err)
	}
	url := "conveyance:///" + strings.ReplaceAll(name, " ", "/")
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("adding the JSON Schema of %s: %w", name, err)
	}
	compiled, err := compiler.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("compiling the JSON Schema of %s: %w", name, err)
	}
	return &schema{compiled: compiled, text: doc}, nil
}

// breach is one way in which a value does not fit a schema.
type breach struct {
	at     []string // of the value
	key    string   // the key itself, where it is the trouble
	what   string
	remedy string
	// misplaced is set where at is not known.
	misplaced bool
}

// breaches holds a value against the schema and returns everything that does not fit. secret keeps
// values out of what is said.
func (s *schema) breaches(v any, secret bool) []breach {
	err := s.compiled.Validate(v)
	if err == nil {
		return nil
	}
	failed, ok := err.(*jsonschema.ValidationError) //nolint:errorlint // the library returns it bare
	if !ok {
		return []breach{{what: "the value cannot be checked", remedy: "write plain YAML"}}
	}
	all := s.leaves(failed, secret)
	for i, b := range all {
		if b.misplaced {
			all[i].at = holder(v, nil, b.key)
		}
	}
	return all
}

// holder is the place of the first object that has a key. The validator says where a value is, but
// not where a bad key is: its place for propertyNames is overwritten before anyone can read it.
func holder(v any, at []string, key string) []string {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[key]; ok {
			return at
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if found := holder(v[k], append(at, k), key); found != nil {
				return slices.Clone(found)
			}
		}
	case []any:
		for i, e := range v {
			if found := holder(e, append(at, strconv.Itoa(i)), key); found != nil {
				return slices.Clone(found)
			}
		}
	}
	return nil
}

func (s *schema) leaves(e *jsonschema.ValidationError, secret bool) (out []breach) {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			out = append(out, breach{
				at: e.InstanceLocation, key: name, what: fmt.Sprintf("unknown key %q", name), remedy: instead(name, s.known(e.SchemaURL)),
			})
		}
		return out
	case *kind.Required:
		for _, name := range k.Missing {
			out = append(out, breach{at: e.InstanceLocation, what: name + " is missing", remedy: "add " + name})
		}
		return out
	case *kind.PropertyNames:
		return []breach{{
			key: k.Property, misplaced: true,
			what: fmt.Sprintf("key %q is not one of those known", k.Property), remedy: instead(k.Property, allowed(e)),
		}}
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		return []breach{{
			at: e.InstanceLocation, what: "the value has none of the forms that are allowed", remedy: "see the destination's or vendor's page",
		}}
	}
	if len(e.Causes) == 0 {
		what, remedy := say(e.ErrorKind, secret)
		return []breach{{at: e.InstanceLocation, what: what, remedy: remedy}}
	}
	for _, c := range e.Causes {
		out = append(out, s.leaves(c, secret)...)
	}
	return out
}

// allowed are the words of an enum among the causes.
func allowed(e *jsonschema.ValidationError) (words []string) {
	for _, c := range e.Causes {
		if k, ok := c.ErrorKind.(*kind.Enum); ok {
			for _, w := range k.Want {
				words = append(words, fmt.Sprint(w))
			}
		}
		words = append(words, allowed(c)...)
	}
	return words
}

// known are the properties of the schema at a URL of it.
func (s *schema) known(url string) []string {
	_, fragment, _ := strings.Cut(url, "#")
	at := s.text
	for _, token := range strings.Split(strings.Trim(fragment, "/"), "/") {
		if token == "" {
			continue
		}
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch node := at.(type) {
		case map[string]any:
			at = node[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(node) {
				return nil
			}
			at = node[i]
		}
	}
	node, _ := at.(map[string]any)
	properties, _ := node["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// say puts a breach into words.
func say(k jsonschema.ErrorKind, secret bool) (what, remedy string) {
	switch k := k.(type) {
	case *kind.Type:
		if (k.Got == "number" || k.Got == "boolean") && slices.Equal(k.Want, []string{"string"}) {
			return "the value is " + article(k.Got), "put it into quotes"
		}
		return "the value is " + article(k.Got), "write " + article(strings.Join(k.Want, " or "))
	case *kind.Enum:
		words := make([]string, 0, len(k.Want))
		for _, w := range k.Want {
			words = append(words, fmt.Sprint(w))
		}
		if got, ok := k.Got.(string); ok && !secret {
			return fmt.Sprintf("%q is not one of those known", got), instead(got, words)
		}
		return "the value is not one of those known", "use one of " + strings.Join(words, ", ")
	case *kind.Pattern:
		if secret {
			return "the value does not have its form", "it must match " + k.Want
		}
		return fmt.Sprintf("%q does not have its form", k.Got), "it must match " + k.Want
	case *kind.Format:
		if secret {
			return "the value does not have its form", "write " + article(k.Want)
		}
		return fmt.Sprintf("%v does not have its form", k.Got), "write " + article(k.Want)
	case *kind.FalseSchema:
		return "nothing may stand here", "remove it"
	}
	if secret {
		return "the value does not fit", "see the vendor's page"
	}
	return k.LocalizedString(message.NewPrinter(language.English)), "correct the value"
}

func article(noun string) string {
	switch {
	case noun == "null":
		return "nothing"
	case strings.ContainsRune("aeiou", rune(noun[0])):
		return "an " + noun
	}
	return "a " + noun
}

// number turns integers into what a schema's validator knows.
func number(v any) any {
	switch v := v.(type) {
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = number(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = number(e)
		}
		return out
	}
	return v
}
