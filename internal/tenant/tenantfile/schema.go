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

// schema is a compiled schema with its text, for the names of known keys.
type schema struct {
	compiled *jsonschema.Schema
	text     any
}

type schemas struct {
	file     *schema
	accounts map[string]*schema
	settings map[string]*schema
}

func compile(c Contract) (*schemas, error) {
	s := &schemas{accounts: map[string]*schema{}, settings: map[string]*schema{}}
	var err error
	if s.file, err = compileOne("tenant", tenantSchema); err != nil {
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
	return s.leaves(failed, secret)
}

func (s *schema) leaves(e *jsonschema.ValidationError, secret bool) (out []breach) {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			out = append(out, breach{e.InstanceLocation, name, fmt.Sprintf("unknown key %q", name), instead(name, s.known(e.SchemaURL))})
		}
		return out
	case *kind.Required:
		for _, name := range k.Missing {
			out = append(out, breach{e.InstanceLocation, "", name + " is missing", "add " + name})
		}
		return out
	case *kind.PropertyNames:
		return []breach{{e.InstanceLocation, k.Property, fmt.Sprintf("key %q is not one of those known", k.Property), instead(k.Property, allowed(e))}}
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		return []breach{{e.InstanceLocation, "", "the value has none of the forms that are allowed", "see the destination's or vendor's page"}}
	}
	if len(e.Causes) == 0 {
		what, remedy := say(e.ErrorKind, secret)
		return []breach{{e.InstanceLocation, "", what, remedy}}
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
		return "the value is a " + k.Got, "write a " + strings.Join(k.Want, " or ")
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
			return "the value does not have its form", "write a " + k.Want
		}
		return fmt.Sprintf("%v does not have its form", k.Got), "write a " + k.Want
	case *kind.FalseSchema:
		return "nothing may stand here", "remove it"
	}
	if secret {
		return "the value does not fit", "see the vendor's page"
	}
	return k.LocalizedString(message.NewPrinter(language.English)), "correct the value"
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
