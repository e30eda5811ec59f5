package realparts

import (
	"context"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
)

// Artifact is something of Maven Central.
type Artifact struct {
	Group, Name, Version string
	Without              []Artifact // what it needs by its own word, and not by ours
}

// plugin copies and unpacks; its version is named so that a build is the same tomorrow.
const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

// Jars returns a folder with the artifacts and all that they need at run time, downloaded once under name.
// It needs mvn, and a settings file or a network by which mvn reaches Maven Central.
func Jars(ctx context.Context, name string, artifacts ...Artifact) (string, error) {
	return once(name, func(dir string) error {
		text, err := pom(name, artifacts)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		return mvn(ctx, dir, "-f", file, plugin+":copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	})
}

// Archive returns a folder with the unpacked archive of an artifact, downloaded once under name. What
// follows the version is Maven's: ":tar.gz:all".
func Archive(ctx context.Context, name string, a Artifact, kind string) (string, error) {
	return once(name, func(dir string) error {
		return mvn(ctx, dir, plugin+":unpack", "-Dartifact="+strings.Join([]string{a.Group, a.Name, a.Version}, ":")+kind, "-DoutputDirectory="+dir)
	})
}

// mvn runs in dir, where Maven leaves marks of its own.
func mvn(ctx context.Context, dir string, args ...string) error {
	return run(ctx, dir, "mvn", append([]string{"-q", "-B", "-ntp", "-Dstyle.color=never"}, args...)...)
}

type project struct {
	XMLName      xml.Name     `xml:"project"`
	ModelVersion string       `xml:"modelVersion"`
	GroupID      string       `xml:"groupId"`
	ArtifactID   string       `xml:"artifactId"`
	Version      string       `xml:"version"`
	Packaging    string       `xml:"packaging"`
	Dependencies []dependency `xml:"dependencies>dependency"`
}

type dependency struct {
	GroupID    string       `xml:"groupId"`
	ArtifactID string       `xml:"artifactId"`
	Version    string       `xml:"version,omitempty"`
	Exclusions []dependency `xml:"exclusions>exclusion,omitempty"`
}

// pom is a project that has the artifacts and nothing else.
func pom(name string, artifacts []Artifact) ([]byte, error) {
	p := project{ModelVersion: "4.0.0", GroupID: "conveyance.realparts", ArtifactID: name, Version: "1", Packaging: "pom"}
	for _, a := range artifacts {
		d := dependency{GroupID: a.Group, ArtifactID: a.Name, Version: a.Version}
		for _, w := range a.Without {
			d.Exclusions = append(d.Exclusions, dependency{GroupID: w.Group, ArtifactID: w.Name})
		}
		p.Dependencies = append(p.Dependencies, d)
	}
	return xml.MarshalIndent(p, "", "  ")
}
