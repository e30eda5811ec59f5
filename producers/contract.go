package producers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"conveyance/internal/vendorjson"
)

// pathMax bounds a path in drifts, in bytes: a field's name is the vendor's, and ends as a label.
const pathMax = 80

// ContractError says where a vendor's record breaks its contract. Its text holds nothing of the
// record but names of fields.
type ContractError struct {
	Path string // JSON pointer without indexes, for example /buyers/email
	Why  string
}

func (e *ContractError) Error() string { return e.Path + " " + e.Why }

// Contract is the JSON Schema (draft 2020-12) of the part of a vendor's record that its mapper
// relies on. Beside the standard's formats it asserts amount, signed-amount, percentage and
// vendor-date. It is safe for concurrent use.
type Contract struct {
	schema *jsonschema.Schema
	shape  *shape
}

// NewContract compiles a schema, which every vendor's folder embeds.
func NewContract(schema []byte) (*Contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("reading a contract: %w", err)
	}
	c := jsonschema.NewCompiler()
	for name, check := range formats() {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error { return checkAny(v, check) }})
	}
	c.AssertFormat()
	if err := c.AddResource("contract.json", doc); err != nil {
		return nil, fmt.Errorf("reading a contract: %w", err)
	}
	s, err := c.Compile("contract.json")
	if err != nil {
		return nil, fmt.Errorf("compiling a contract: %w", err)
	}
	return &Contract{schema: s, shape: compile(s, map[*jsonschema.Schema]*shape{})}, nil
}

// formats are ours, by name. A text that is empty is none.
func formats() map[string]func(string) error {
	return map[string]func(string) error{
		"amount":        between(0, AmountMinorMax),
		"signed-amount": between(-AmountMinorMax, AmountMinorMax),
		"percentage":    between(0, wholeBasisPoints),
		"vendor-date":   checkDate,
	}
}

// checkAny holds a text or number of the validator's against a format; other types are not a format's
// business.
func checkAny(v any, check func(string) error) error {
	switch v := v.(type) {
	case string:
		return check(strings.TrimSpace(v))
	case json.Number:
		return check(v.String())
	}
	return nil
}

// Read reads a record's body and holds it against the contract: a *ContractError where it breaks it.
// Fields that an object's schema does not name are drifts, at every depth. The caller may Free the
// record when its texts are taken.
func (c *Contract) Read(body []byte) (Record, []Drift, error) {
	v, err := vendorjson.Parse(body)
	if err != nil {
		return Record{}, nil, &ContractError{Path: "/", Why: "is no JSON: " + err.Error()}
	}
	var drift []Drift
	if !c.shape.fits(v, "", &drift) {
		if err := c.schema.Validate(v.Any()); err != nil {
			return Record{}, nil, broken(err)
		}
	}
	if v.Kind() != vendorjson.Object {
		return Record{}, nil, &ContractError{Path: "/", Why: "is no object"}
	}
	slices.SortFunc(drift, func(a, b Drift) int { return strings.Compare(a.Path, b.Path) })
	return Record{v}, slices.Compact(drift), nil
}

// broken finds the first break by path, so that the same record always gives the same error: the
// validator walks maps in no order.
func broken(err error) error {
	v, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return err
	}
	leaves := leavesOf(v, nil)
	return slices.MinFunc(leaves, func(a, b *ContractError) int {
		return strings.Compare(a.Error(), b.Error())
	})
}

func leavesOf(v *jsonschema.ValidationError, leaves []*ContractError) []*ContractError {
	for _, cause := range v.Causes {
		leaves = leavesOf(cause, leaves)
	}
	if len(v.Causes) > 0 {
		return leaves
	}
	path := pointer(v.InstanceLocation)
	switch k := v.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			leaves = append(leaves, &ContractError{Path: strings.TrimSuffix(path, "/") + "/" + name, Why: "is missing"})
		}
		return leaves
	case *kind.Type:
		return append(leaves, &ContractError{Path: path, Why: "is " + k.Got + ", not " + strings.Join(k.Want, " or ")})
	case *kind.Format:
		return append(leaves, &ContractError{Path: path, Why: "is no " + k.Want})
	}
	return append(leaves, &ContractError{Path: path, Why: "breaks " + strings.Join(v.ErrorKind.KeywordPath(), "/")})
}

// pointer is a JSON pointer without indexes.
func pointer(location []string) string {
	names := slices.DeleteFunc(slices.Clone(location), func(s string) bool {
		_, err := strconv.Atoi(s)
		return err == nil
	})
	return cut("/" + strings.Join(names, "/"))
}

// cut bounds a path without cutting a rune in two.
func cut(path string) string {
	if len(path) <= pathMax {
		return path
	}
	return strings.ToValidUTF8(path[:pathMax], "")
}
