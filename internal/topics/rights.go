package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Process is what one process does with topics; names are without prefix.
type Process struct {
	Name      string   // "adapter warehouse"
	Principal string   // "User:conveyance.adapter-warehouse"
	Group     string   // that it reads in; empty = it reads in none
	Reads     []string // topics
	Writes    []string
	Makes     []string // topics that it may make and configure
}

// Right is one thing that one process must be allowed.
type Right struct {
	Process   string            `json:"process"`
	Principal string            `json:"principal"`
	Operation kadm.ACLOperation `json:"-"`
	Kind      string            `json:"resource"` // "topic" or "group"
	Name      string            `json:"name"`     // with prefix
}

func (r Right) String() string {
	return fmt.Sprintf("%s %s on %s %s", r.Principal, strings.ToUpper(r.Operation.String()), r.Kind, r.Name)
}

// The kinds of resources.
const (
	kindTopic = "topic"
	kindGroup = "group"
)

// Rights are the least that the processes need. Kafka lets who may READ or WRITE a topic DESCRIBE it, and who
// may WRITE any topic produce idempotently, and who may ALTER_CONFIGS DESCRIBE_CONFIGS. Nobody may DELETE
// anything.
func Rights(prefix string, processes []Process) []Right {
	var all []Right
	for _, p := range processes {
		add := func(kind string, names []string, operations ...kadm.ACLOperation) {
			for _, name := range names {
				for _, op := range operations {
					all = append(all, Right{p.Name, p.Principal, op, kind, prefix + name})
				}
			}
		}
		if p.Group != "" {
			add(kindGroup, []string{p.Group}, kadm.OpRead)
		}
		add(kindTopic, p.Reads, kadm.OpRead)
		add(kindTopic, p.Writes, kadm.OpWrite)
		add(kindTopic, p.Makes, kadm.OpCreate, kadm.OpAlterConfigs)
		unseen := slices.DeleteFunc(slices.Clone(p.Makes), func(t string) bool {
			return slices.Contains(p.Reads, t) || slices.Contains(p.Writes, t)
		})
		add(kindTopic, unseen, kadm.OpDescribe)
	}
	return all
}

func (r Right) acl() *kadm.ACLBuilder {
	b := kadm.NewACLs().Allow(r.Principal).AllowHosts("*").Operations(r.Operation).ResourcePatternType(kadm.ACLPatternLiteral)
	if r.Kind == kindGroup {
		return b.Groups(r.Name)
	}
	return b.Topics(r.Name)
}

// Granted says of each right whether it is there. It needs DESCRIBE on the cluster.
func Granted(ctx context.Context, adm *kadm.Client, rights []Right) ([]bool, error) {
	anything := kadm.NewACLs().AnyResource().Allow().AllowHosts().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
	results, err := adm.DescribeACLs(ctx, anything)
	if err != nil {
		return nil, fmt.Errorf("reading the ACLs: %w", err)
	}
	there := map[Right]bool{}
	for _, result := range results {
		if result.Err != nil {
			return nil, fmt.Errorf("reading the ACLs: %w", result.Err)
		}
		for _, acl := range result.Described {
			if acl.Permission != kmsg.ACLPermissionTypeAllow || acl.Pattern != kadm.ACLPatternLiteral || acl.Host != "*" {
				continue
			}
			there[Right{Principal: acl.Principal, Operation: acl.Operation, Kind: strings.ToLower(acl.Type.String()), Name: acl.Name}] = true
		}
	}
	granted := make([]bool, len(rights))
	for i, r := range rights {
		r.Process = ""
		granted[i] = there[r]
	}
	return granted, nil
}

// Grant makes rights; making one again changes nothing. It needs ALTER on the cluster.
func Grant(ctx context.Context, adm *kadm.Client, rights []Right) error {
	for _, r := range rights {
		answers, err := adm.CreateACLs(ctx, r.acl())
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		if err != nil {
			return fmt.Errorf("granting %s: %w", r, err)
		}
	}
	return nil
}

// Withdraw takes rights away.
func Withdraw(ctx context.Context, adm *kadm.Client, rights []Right) error {
	for _, r := range rights {
		answers, err := adm.DeleteACLs(ctx, r.acl())
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		if err != nil {
			return fmt.Errorf("withdrawing %s: %w", r, err)
		}
	}
	return nil
}

// Lacking are the rights that the client's own user does not have, as the cluster says; none where the cluster
// asks for no rights at all. A topic that is not there yet, or may not be seen, counts as lacking.
func Lacking(ctx context.Context, cl *kgo.Client, rights []Right) ([]Right, error) {
	has, err := topicRights(ctx, cl, rights)
	if err != nil {
		return nil, err
	}
	var lacking []Right
	for _, r := range rights {
		switch {
		case r.Kind == kindTopic && !slices.Contains(has[r.Name], r.Operation):
			lacking = append(lacking, r)
		case r.Kind == kindGroup:
			has, err := groupRight(ctx, cl, r)
			if err != nil {
				return nil, err
			}
			if !has {
				lacking = append(lacking, r)
			}
		}
	}
	return lacking, nil
}

func groupRight(ctx context.Context, cl *kgo.Client, r Right) (bool, error) {
	groups, err := kadm.NewClient(cl).DescribeGroups(ctx, r.Name)
	if g, ok := groups[r.Name]; ok && g.Err != nil {
		err = g.Err
	}
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return false, nil
	case errors.Is(err, kerr.GroupIDNotFound): // nobody has joined it yet, and it may be seen
		return true, nil
	case err != nil:
		return false, fmt.Errorf("asking for the rights on group %s: %w", r.Name, err)
	}
	return slices.Contains(groups[r.Name].AuthorizedOperations, r.Operation), nil
}

func topicRights(ctx context.Context, cl *kgo.Client, rights []Right) (map[string][]kadm.ACLOperation, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, r := range rights {
		if r.Kind == kindTopic {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(r.Name)
			req.Topics = append(req.Topics, t)
		}
	}
	if len(req.Topics) == 0 {
		return nil, nil
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("asking for the rights on topics: %w", err)
	}
	has := map[string][]kadm.ACLOperation{}
	for _, t := range resp.Topics {
		if t.Topic != nil && t.ErrorCode == 0 {
			has[*t.Topic] = kadm.DecodeACLOperations(t.AuthorizedOperations)
		}
	}
	return has, nil
}
