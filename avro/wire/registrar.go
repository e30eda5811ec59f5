package wire

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
)

// Registrar is the only writer of the registry, for operators and for schema check in a pipeline;
// the stages never hold one. Its subjects come from the topic table. Its errors are for people.
type Registrar struct {
	client *sr.Client
	prefix string
	topics []topic.Topic
}

// Finding is one reason against registering a text.
type Finding struct {
	Subject string `json:"subject"`
	Version int    `json:"version"` // registered version that it was held against; 0 = the contract's lint
	Reader  string `json:"reader"`  // who could not read the other: candidate, version N, or lint
	Field   string `json:"field"`
	Rule    string `json:"rule"`
}

func (f Finding) String() string {
	switch {
	case f.Version == 0:
		return fmt.Sprintf("%s: %s %s", f.Subject, f.Field, f.Rule)
	case f.Reader == readerCandidate:
		return fmt.Sprintf("%s: field %s %s (the new schema reading version %d)", f.Subject, f.Field, f.Rule, f.Version)
	default:
		return fmt.Sprintf("%s: field %s %s (version %d reading the new schema)", f.Subject, f.Field, f.Rule, f.Version)
	}
}

// registrarTimeout is one call of an operator's command: a registry that has just started may take
// seconds over a registration.
const registrarTimeout = 15 * time.Second

const (
	readerCandidate = "candidate"
	readerLint      = "lint"
)

// Refused is the error of Register where Check has findings. Nothing was registered.
type Refused struct{ Findings []Finding }

func (r *Refused) Error() string {
	lines := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		lines[i] = f.String()
	}
	return "registering would break readers: " + strings.Join(lines, "; ")
}

// Registered is a text of this build in the registry.
type Registered struct {
	Subject string `json:"subject"`
	ID      int    `json:"id"`
	Version int    `json:"version"`
	New     bool   `json:"new"` // registered by this call
}

// Listed is a subject as the registry holds it.
type Listed struct {
	Subject       string `json:"subject"`
	Compatibility string `json:"compatibility"` // empty where the subject has no level of its own
	Versions      []int  `json:"versions"`
	ID            int    `json:"id"`      // of this build's text, 0 where it is not registered
	Current       int    `json:"current"` // version of this build's text, 0 where it is not registered
	Known         bool   `json:"known"`   // false: no topic of this build has this subject
}

// NewRegistrar returns a registrar for the subjects of topics (without prefix). It makes no call.
func NewRegistrar(registry, prefix string, topics []topic.Topic) (*Registrar, error) {
	client, _, err := newClient(registry, registrarTimeout)
	if err != nil {
		return nil, err
	}
	return &Registrar{client: client, prefix: prefix, topics: topics}, nil
}

// place is a subject that the topic table names.
type place struct {
	subject string
	typ     event.Type
}

func (r *Registrar) places() []place {
	var all []place
	for _, t := range r.topics {
		for _, typ := range t.Types {
			all = append(all, place{subject: Subject(r.prefix, t.Name, typ), typ: typ})
		}
	}
	return all
}

// Check holds candidate texts, by record name (schema.All), against the lint and against every
// registered version, both as reader and as writer (FULL_TRANSITIVE). No finding means that all
// readers of all versions read all writers. It writes nothing.
func (r *Registrar) Check(ctx context.Context, candidates map[string]string) ([]Finding, error) {
	var findings []Finding
	for _, p := range r.places() {
		text := candidates[string(p.typ)]
		for _, problem := range schema.Lint(text) {
			findings = append(findings, Finding{
				Subject: p.subject, Reader: readerLint, Field: problem.Field, Rule: problem.Rule,
			})
		}
		versions, err := r.versions(ctx, p.subject)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			found, err := against(p.subject, text, v)
			if err != nil {
				return nil, err
			}
			findings = append(findings, found...)
		}
	}
	return findings, nil
}

func against(subject, text string, v sr.SubjectSchema) ([]Finding, error) {
	reading, err := Breaks(text, v.Schema.Schema)
	if err != nil {
		return nil, fmt.Errorf("checking %s against version %d: %w", subject, v.Version, err)
	}
	read, err := Breaks(v.Schema.Schema, text)
	if err != nil {
		return nil, fmt.Errorf("checking %s against version %d: %w", subject, v.Version, err)
	}
	var findings []Finding
	for _, b := range reading {
		findings = append(findings, Finding{subject, v.Version, readerCandidate, b.Field, b.Rule})
	}
	for _, b := range read {
		findings = append(findings, Finding{subject, v.Version, fmt.Sprintf("version %d", v.Version), b.Field, b.Rule})
	}
	return findings, nil
}

// versions returns what a subject holds, oldest first; nothing where there is no such subject.
func (r *Registrar) versions(ctx context.Context, subject string) ([]sr.SubjectSchema, error) {
	versions, err := r.client.Schemas(ctx, subject)
	if isCode(err, sr.ErrSubjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the versions of %s: %w", subject, err)
	}
	return versions, nil
}

// Register puts texts, by record name (schema.All), under every subject of the topics, after Check
// has passed, and sets each subject to FULL_TRANSITIVE first, so that the registry refuses what
// anybody else would break. Registering what is there changes nothing and returns its id. A failure
// in the middle leaves some subjects done; registering again completes it.
func (r *Registrar) Register(ctx context.Context, texts map[string]string) ([]Registered, error) {
	findings, err := r.Check(ctx, texts)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, &Refused{Findings: findings}
	}
	var done []Registered
	for _, p := range r.places() {
		one, err := r.register(ctx, p.subject, texts[string(p.typ)])
		if err != nil {
			return done, fmt.Errorf("registering %s: %w", p.subject, err)
		}
		done = append(done, one)
	}
	return done, nil
}

func (r *Registrar) register(ctx context.Context, subject, text string) (Registered, error) {
	if r.level(ctx, subject) != sr.CompatFullTransitive.String() {
		set := r.client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFullTransitive}, subject)[0]
		if set.Err != nil {
			return Registered{}, fmt.Errorf("setting its compatibility: %w", set.Err)
		}
	}
	s := sr.Schema{Schema: text, Type: sr.TypeAvro}
	found, err := r.client.LookupSchema(ctx, subject, s)
	if err == nil {
		return Registered{Subject: subject, ID: found.ID, Version: found.Version}, nil
	}
	if !isCode(err, sr.ErrSubjectNotFound) && !isCode(err, sr.ErrSchemaNotFound) {
		return Registered{}, err
	}
	made, err := r.client.CreateSchema(ctx, subject, s)
	return Registered{Subject: subject, ID: made.ID, Version: made.Version, New: true}, err
}

// level is a subject's own compatibility level, empty where it has none or cannot be asked: it is
// then set anew, which is harmless.
func (r *Registrar) level(ctx context.Context, subject string) string {
	c := r.client.Compatibility(ctx, subject)[0]
	if c.Err != nil {
		return ""
	}
	return c.Level.String()
}

// List returns the subjects of the topics, registered or not, and what else the registry holds
// under the prefix, sorted by name. Where this build's text stands is told by Current.
func (r *Registrar) List(ctx context.Context) ([]Listed, error) {
	held, err := r.client.Subjects(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the registry's subjects: %w", err)
	}
	texts := schema.All()
	var list []Listed
	known := map[string]bool{}
	for _, p := range r.places() {
		known[p.subject] = true
		l := Listed{Subject: p.subject, Versions: []int{}, Known: true}
		if slices.Contains(held, p.subject) {
			found, err := r.client.LookupSchema(ctx, p.subject, sr.Schema{Schema: texts[string(p.typ)]})
			if err != nil && !isCode(err, sr.ErrSchemaNotFound) {
				return nil, fmt.Errorf("looking for this build's schema under %s: %w", p.subject, err)
			}
			l.ID, l.Current = found.ID, found.Version
		}
		list = append(list, l)
	}
	for _, s := range held {
		if strings.HasPrefix(s, r.prefix) && !known[s] {
			list = append(list, Listed{Subject: s})
		}
	}
	for i, l := range list {
		if !slices.Contains(held, l.Subject) {
			continue
		}
		if list[i].Versions, err = r.client.SubjectVersions(ctx, l.Subject); err != nil {
			return nil, fmt.Errorf("reading the versions of %s: %w", l.Subject, err)
		}
		list[i].Compatibility = r.level(ctx, l.Subject)
	}
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Compare(a.Subject, b.Subject) })
	return list, nil
}
