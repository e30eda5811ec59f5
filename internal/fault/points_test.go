package fault_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/fault"
)

// root is where go.mod lies.
const root = "../.."

// passages are the names in all calls of fault.At, of the product and not of tests.
func passages(t *testing.T) (names []string) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || at.Sel.Name != "At" || len(call.Args) != 1 {
				return true
			}
			if of, ok := at.X.(*ast.Ident); !ok || of.Name != "fault" {
				return true
			}
			text, ok := call.Args[0].(*ast.BasicLit)
			require.True(t, ok, "%s: a crash point is named by a string", path)
			name, err := strconv.Unquote(text.Value)
			require.NoError(t, err)
			names = append(names, name)
			return true
		})
		return nil
	})
	require.NoError(t, err)
	return names
}

func TestEveryPointStandsOnceInTheCodeAndEveryPassageIsAPoint(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, fault.Points(), passages(t))
}

func TestReleaseBuildHoldsNoPoint(t *testing.T) {
	t.Parallel()
	require.False(t, fault.Compiled)
	require.NoError(t, fault.At("start"))
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	binary, err := os.ReadFile(exe)
	require.NoError(t, err)
	for _, name := range append(fault.Points(), "CONVEYANCE_FAULTS") {
		if strings.ContainsAny(name, "._") { // the others are words
			require.False(t, bytes.Contains(binary, []byte(name)), name)
		}
	}
}
