package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// file is one Go file of the tree: its package's folder and what it imports.
type file struct {
	path    string // from the root, with slashes
	dir     string
	imports []string
	test    bool
}

// root is where go.mod lies. The tree is walked as files, not by go list: the test cache does not
// see what a subprocess reads.
const root = "../.."

func tree(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(root, p)
		require.NoError(t, err)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		ast, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		require.NoError(t, err)
		f := file{path: filepath.ToSlash(rel), dir: path.Dir(filepath.ToSlash(rel)), test: strings.HasSuffix(p, "_test.go")}
		for _, imp := range ast.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			require.NoError(t, err)
			f.imports = append(f.imports, name)
		}
		files = append(files, f)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// stage is the part of the tree in which a folder lies; every folder must have one.
func stage(dir string) string {
	for _, s := range []string{"avro", "producers", "processors", "consumers", "internal", "cmd", "compose"} {
		if dir == s || strings.HasPrefix(dir, s+"/") {
			return s
		}
	}
	return ""
}

func TestEveryFolderHasAStage(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t) {
		require.NotEmpty(t, stage(f.dir), "%s lies outside avro producers processors consumers compose cmd internal", f.path)
	}
}

// only says who may import a package from outside; tests may too where tests is set.
type only struct {
	module  string // import path or its beginning
	why     string
	allowed []string // folders, with those below them
	tests   bool
}

var rules = []only{
	{"github.com/hamba/avro", "its defects are fenced in there", []string{"avro/wire", "internal/bench"}, true},
	{"github.com/twmb/avro", "it is the oracle, not the codec", []string{"internal/devstack/registry"}, true},
	{"github.com/twmb/franz-go/pkg/sr", "the registry has one client", []string{"avro/wire", "internal/devstack/registry"}, true},
	{"github.com/twmb/franz-go/pkg/kfake", "the embedded broker is for one machine", []string{"internal/devstack/broker", "internal/testkit", "internal/bench"}, true},
	{"github.com/twmb/franz-go/pkg/kgo", "one engine reads Kafka", []string{"internal/chaos", "internal/realparts", "internal/kafka", "internal/stream", "internal/topics", "internal/devstack", "internal/testkit", "internal/bench", "cmd/conveyance"}, true},
	{"github.com/twmb/franz-go/pkg/kadm", "topics are made in one place", []string{"internal/chaos", "internal/realparts", "internal/kafka", "internal/stream", "internal/topics", "internal/devstack", "internal/testkit", "internal/bench", "cmd/conveyance"}, true},
	{"go.uber.org/zap/zaptest", "it is for tests", []string{"internal/testkit"}, true},
	{"github.com/stretchr/testify", "it is for tests", []string{"internal/testkit", "producers/producerstest", "consumers/consumerstest", "internal/devstack/registry/registrytest", "internal/stream/streamtest"}, true},
	{"testing", "it is for tests", []string{"internal/testkit", "producers/producerstest", "consumers/consumerstest", "internal/devstack/registry/registrytest", "internal/stream/streamtest", "internal/bench"}, true},
}

func TestLibrariesStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t) {
		for _, r := range rules {
			uses := slices.ContainsFunc(f.imports, func(i string) bool {
				return i == r.module || r.module != "testing" && strings.HasPrefix(i, r.module+"/") // testing/fstest is a file system
			})
			if uses && (!f.test || !r.tests) {
				require.True(t, under(f.dir, r.allowed), "%s imports %s: %s", f.path, r.module, r.why)
			}
		}
	}
}

func TestPostgresIsReachedOnlyWhereStatementsLie(t *testing.T) {
	t.Parallel()
	files := tree(t)
	queries := map[string]bool{}
	for _, f := range files {
		if path.Base(f.path) == "queries.go" {
			queries[f.dir] = true
		}
	}
	// The roots wire pools into their leaves and see pgx.Tx in their interfaces; they hold no SQL.
	wiring := []string{"internal/chaos", "internal/realparts", "internal/postgres", "internal/stream", "internal/testkit", "internal/devstack", "internal/bench", "cmd/conveyance"}
	for _, f := range files {
		uses := slices.ContainsFunc(f.imports, func(i string) bool { return strings.HasPrefix(i, "github.com/jackc/pgx") })
		if uses && !f.test && !queries[f.dir] {
			require.True(t, under(f.dir, wiring) || f.dir == "consumers" || f.dir == "consumers/consumerstest",
				"%s imports pgx, and its folder has no queries.go", f.path)
		}
	}
}

func TestStagesMeetOnlyInAvroAndCmd(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		for _, imp := range f.imports {
			dir, ours := strings.CutPrefix(imp, "conveyance/")
			if !ours {
				continue
			}
			from, to := stage(f.dir), stage(dir)
			switch {
			case from == "avro":
				require.Equal(t, "avro", to, "%s imports %s: the contract imports nothing of ours", f.path, dir)
			case from == "cmd", to == "avro", to == "internal" && !strings.HasPrefix(dir, "internal/sandbox"):
			case from == "internal" && under(f.dir, []string{"internal/e2e", "internal/judge", "internal/chaos", "internal/bench", "internal/console", "internal/sandbox"}):
			case from == "processors" && dir == "producers": // the interfaces of the leaves that it calls
			case f.dir == "processors/translate" && dir == "processors/link": // its library: decisions go with its offset
			case from == to && leaf(f.dir) == "register": // lists the leaves, which import their stage's root
			case from == to && leaf(f.dir) == leaf(dir), from == to && leaf(f.dir) == "", from == to && leaf(dir) == "":
			default:
				require.Failf(t, "an import crosses stages", "%s imports %s", f.path, dir)
			}
		}
	}
}

// The truth that the end is judged by shares nothing with the product, not even its contract; nor does
// the judge.
func TestTruthSharesNoCodeWithTheProduct(t *testing.T) {
	t.Parallel()
	for dir, may := range map[string][]string{
		"internal/sandbox/truth":   {"internal/sandbox"},
		"internal/sandbox/records": {"internal/sandbox"},
		"internal/sandbox/world":   {"internal/sandbox"},
		"internal/judge":           {"internal/sandbox", "internal/postgres"},
	} {
		for _, f := range tree(t) {
			if f.dir != dir || f.test {
				continue
			}
			for _, imp := range f.imports {
				from, ours := strings.CutPrefix(imp, "conveyance/")
				require.True(t, !ours || under(from, may), "%s imports %s", f.path, imp)
			}
		}
	}
}

// leaf is the vendor's or destination's folder within its stage; empty for the stage's root.
func leaf(dir string) string {
	_, rest, _ := strings.Cut(dir, "/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestLeavesKnowNoKafka(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t) {
		s := stage(f.dir)
		if f.test || leaf(f.dir) == "" || (s != "producers" && s != "consumers") || strings.HasSuffix(leaf(f.dir), "test") {
			continue
		}
		for _, imp := range f.imports {
			require.NotContains(t, imp, "franz-go", "%s is a leaf", f.path)
			require.NotEqual(t, "conveyance/internal/stream", imp, "%s is a leaf", f.path)
			require.NotEqual(t, "conveyance/avro/wire", imp, "%s is a leaf", f.path)
		}
	}
}

func under(dir string, allowed []string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool { return dir == a || strings.HasPrefix(dir, a+"/") })
}
