package tenantfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// fileBytesMax of a tenant's file: a brokerage with a hundred accounts has 30 KiB.
	fileBytesMax = 256 << 10
	// depthMax of nested lists and maps. The parser takes seconds for thousands.
	depthMax = 20
)

// document is a file as values, with the place of each key and value.
type document struct {
	root   any
	keys   map[string]*token.Position // by pointer
	values map[string]*token.Position
}

// badYAML is why a file cannot be read, and where.
type badYAML struct {
	at   *token.Position
	what string
}

func (e *badYAML) Error() string { return e.what }

// parse reads one YAML document of plain maps, lists and scalars: no anchors, no tags, no merge
// keys, so that what stands in the file is what is meant, and nothing can be blown up.
func parse(text []byte) (*document, error) {
	if len(text) > fileBytesMax {
		return nil, &badYAML{what: fmt.Sprintf("the file is larger than %d KiB", fileBytesMax>>10)}
	}
	tokens := lexer.Tokenize(string(text))
	if err := shallow(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
			return nil, &badYAML{at: syntax.Token.Position, what: syntax.Message}
		}
		return nil, &badYAML{what: "the file is not YAML"}
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, &badYAML{what: "the file is empty"}
	case 1:
	default:
		return nil, &badYAML{at: bodies[1].GetToken().Position, what: "the file holds several documents"}
	}
	d := &document{keys: map[string]*token.Position{}, values: map[string]*token.Position{}}
	d.root, err = d.value(bodies[0], "", 0)
	return d, err
}

// shallow refuses deep nesting before the parser sees it.
func shallow(tokens token.Tokens) error {
	depth, entries := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		default: // no bracket
		}
		if t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType {
			entries++ // - - - on one line
		} else {
			entries = 0
		}
		if depth > depthMax || entries > depthMax {
			return &badYAML{at: t.Position, what: "lists and maps are nested too deeply"}
		}
	}
	return nil
}

// value turns a node into what encoding/json would give, but integers into int64.
func (d *document) value(n ast.Node, at string, depth int) (any, error) {
	if depth > depthMax {
		return nil, &badYAML{at: n.GetToken().Position, what: "lists and maps are nested too deeply"}
	}
	if _, ok := d.values[at]; !ok {
		d.values[at] = n.GetToken().Position
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return d.mapping(n, at, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, e := range n.Values {
			v, err := d.value(e, fmt.Sprintf("%s/%d", at, i), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return integer(n)
	}
	return nil, &badYAML{at: n.GetToken().Position, what: kindOf(n) + " is not understood here: write the value out"}
}

func integer(n *ast.IntegerNode) (any, error) {
	switch v := n.Value.(type) {
	case int64:
		return v, nil
	case uint64:
		if v <= 1<<62 {
			return int64(v), nil
		}
	}
	return nil, &badYAML{at: n.GetToken().Position, what: "the number is too large: put an id into quotes"}
}

func (d *document) mapping(n *ast.MappingNode, at string, depth int) (any, error) {
	out := make(map[string]any, len(n.Values))
	for i, pair := range n.Values {
		key, ok := pair.Key.(ast.ScalarNode)
		if !ok || pair.Key.IsMergeKey() || isTagged(pair.Key) {
			return nil, &badYAML{at: pair.Key.GetToken().Position, what: "a key must be a plain word"}
		}
		name := key.GetToken().Value
		if _, twice := out[name]; twice {
			return nil, &badYAML{at: key.GetToken().Position, what: fmt.Sprintf("key %q stands twice", name)}
		}
		below := at + "/" + escape(name)
		d.keys[below] = key.GetToken().Position
		if i == 0 {
			d.values[at] = key.GetToken().Position // the token of a map is its first colon
		}
		v, err := d.value(pair.Value, below, depth+1)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func isTagged(n ast.Node) bool {
	_, tagged := n.(*ast.TagNode)
	return tagged
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.AnchorNode:
		return "an anchor (&)"
	case *ast.AliasNode:
		return "an alias (*)"
	case *ast.TagNode:
		return "a tag (!)"
	case *ast.InfinityNode, *ast.NanNode:
		return "a number without a value"
	}
	return "a construct"
}

// pointer is a JSON pointer of keys and indexes.
func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(escape(t))
	}
	return b.String()
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
