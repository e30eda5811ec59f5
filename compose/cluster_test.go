package compose

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// cluster is what kubectl apply -k compose/cluster would send, decoded strictly: a field that
// Kubernetes does not know, or of another type, fails.
type cluster struct {
	settings map[string]string // of the config map
	stages   map[string]stage
	budgets  map[string]policy.PodDisruptionBudget
	jobs     map[string]batch.Job
	names    []string // kind/name of everything
}

// stage is a Deployment or StatefulSet.
type stage struct {
	kind     string
	replicas int32
	selector map[string]string
	template core.PodTemplateSpec
}

func render(t *testing.T) cluster {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "cluster")
	require.NoError(t, err)
	c := cluster{stages: map[string]stage{}, budgets: map[string]policy.PodDisruptionBudget{}, jobs: map[string]batch.Job{}}
	for _, r := range rendered.Resources() {
		text, err := r.AsYAML()
		require.NoError(t, err)
		c.names = append(c.names, r.GetKind()+"/"+r.GetName())
		if r.GetKind() != "Namespace" {
			require.Equal(t, "conveyance", r.GetNamespace(), r.GetName())
		}
		strict := func(into any) {
			require.NoError(t, yaml.UnmarshalStrict(text, into), "%s/%s", r.GetKind(), r.GetName())
		}
		switch r.GetApiVersion() + " " + r.GetKind() {
		case "apps/v1 Deployment":
			var d apps.Deployment
			strict(&d)
			c.stages[d.Name] = stage{"Deployment", *d.Spec.Replicas, d.Spec.Selector.MatchLabels, d.Spec.Template}
		case "apps/v1 StatefulSet":
			var s apps.StatefulSet
			strict(&s)
			require.Contains(t, c.names, "Service/"+s.Spec.ServiceName)
			c.stages[s.Name] = stage{"StatefulSet", *s.Spec.Replicas, s.Spec.Selector.MatchLabels, s.Spec.Template}
		case "policy/v1 PodDisruptionBudget":
			var b policy.PodDisruptionBudget
			strict(&b)
			c.budgets[b.Name] = b
		case "batch/v1 Job":
			var j batch.Job
			strict(&j)
			c.jobs[j.Name] = j
		case "v1 ConfigMap":
			var m core.ConfigMap
			strict(&m)
			c.settings = m.Data
		case "v1 Service":
			strict(&core.Service{})
		case "v1 Namespace":
			strict(&core.Namespace{})
		case "networking.k8s.io/v1 NetworkPolicy":
			strict(&networking.NetworkPolicy{})
		case "networking.k8s.io/v1 Ingress":
			strict(&networking.Ingress{})
		default:
			require.Failf(t, "a kind that this test cannot check", "%s %s", r.GetApiVersion(), r.GetKind())
		}
	}
	return c
}

func TestClusterHasEveryStageAndDestination(t *testing.T) {
	t.Parallel()
	c := render(t)
	want := []string{"ingest", "fetch", "translate"}
	for _, d := range destinations(t) {
		want = append(want, "adapter-"+d.Name)
		text := read(t, "cluster/adapters/"+d.Name+".yaml")
		require.LessOrEqual(t, strings.Count(text, "\n"), 30, "an adapter is one small file")
	}
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(c.stages)))
}

func TestStagesOfTheClusterSurviveNodesAndUpdates(t *testing.T) {
	t.Parallel()
	c := render(t)
	for name, s := range c.stages {
		require.GreaterOrEqual(t, s.replicas, int32(2), name)
		for k, v := range s.selector {
			require.Equal(t, v, s.template.Labels[k], name)
		}
		budget, ok := c.budgets[name]
		require.True(t, ok, "%s has no PodDisruptionBudget", name)
		require.Equal(t, s.selector, budget.Spec.Selector.MatchLabels, name)
		if least := budget.Spec.MinAvailable; least != nil {
			require.Less(t, least.IntVal, s.replicas, "%s: no node could ever be drained", name)
		}
		pod := s.template.Spec
		var over []string
		for _, spread := range pod.TopologySpreadConstraints {
			over = append(over, spread.TopologyKey)
			require.Equal(t, int32(1), spread.MaxSkew, name)
			require.Equal(t, []string{"app.kubernetes.io/name"}, spread.MatchLabelKeys, name)
			for k, v := range spread.LabelSelector.MatchLabels {
				require.Equal(t, v, s.template.Labels[k], name)
			}
		}
		require.ElementsMatch(t, []string{"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, over, name)
		require.Greater(t, *pod.TerminationGracePeriodSeconds, int64(10), "%s drains for 10 s", name)
	}
	require.Len(t, c.budgets, len(c.stages))
}

func TestPodsOfTheClusterAreProbedBoundedAndMayNothing(t *testing.T) {
	t.Parallel()
	c := render(t)
	for name, s := range c.stages {
		pod := s.template.Spec
		requireConfined(t, name, pod, pod.Containers)
		require.Len(t, pod.Containers, 1, name)
		box := pod.Containers[0]
		for path, probe := range map[string][]*core.Probe{"/healthz": {box.StartupProbe, box.LivenessProbe}, "/readyz": {box.ReadinessProbe}} {
			for _, p := range probe {
				require.NotNil(t, p, name)
				require.Equal(t, path, p.HTTPGet.Path, name)
				require.True(t, slices.ContainsFunc(box.Ports, func(port core.ContainerPort) bool {
					return port.Name == p.HTTPGet.Port.StrVal && port.ContainerPort == 9100
				}), name)
			}
		}
		kafka := slices.IndexFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == "kafka" })
		require.Equal(t, "kafka-"+name, pod.Volumes[kafka].Secret.SecretName, "%s has a user of its own", name)
	}
	for name, j := range c.jobs {
		pod := j.Spec.Template.Spec
		requireConfined(t, name, pod, slices.Concat(pod.InitContainers, pod.Containers))
	}
}

func requireConfined(t *testing.T, name string, pod core.PodSpec, boxes []core.Container) {
	t.Helper()
	require.True(t, *pod.SecurityContext.RunAsNonRoot, name)
	require.Equal(t, int64(65532), *pod.SecurityContext.RunAsUser, name)
	require.Equal(t, core.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, name)
	require.False(t, *pod.AutomountServiceAccountToken, name)
	for _, box := range boxes {
		require.Equal(t, "registry.example.com/conveyance:1.0.0", box.Image, name)
		require.True(t, *box.SecurityContext.ReadOnlyRootFilesystem, name)
		require.False(t, *box.SecurityContext.AllowPrivilegeEscalation, name)
		require.Equal(t, []core.Capability{"ALL"}, box.SecurityContext.Capabilities.Drop, name)
		require.False(t, box.Resources.Limits.Memory().IsZero(), name)
		require.False(t, box.Resources.Requests.Memory().IsZero(), name)
		require.False(t, box.Resources.Requests.Cpu().IsZero(), name)
	}
}

func TestCommandsAndSettingsOfTheClusterAreTheProducts(t *testing.T) {
	t.Parallel()
	c := render(t)
	require.NotRegexp(t, `://[^/@]*:[^/@]*@`, c.settings["CONVEYANCE_POSTGRES"], "it holds a password")
	for name, s := range c.stages {
		requireContainer(t, c, name, s.template.Spec.Containers[0])
		static := slices.ContainsFunc(s.template.Spec.Containers[0].Env, func(e core.EnvVar) bool {
			return e.Name == "CONVEYANCE_INSTANCE_ID" && e.ValueFrom.FieldRef.FieldPath == "metadata.name"
		})
		require.Equal(t, s.kind == "StatefulSet", static, "%s: a static member needs a name that it keeps", name)
	}
	var steps []string
	release := c.jobs["release"].Spec.Template.Spec
	for _, box := range slices.Concat(release.InitContainers, release.Containers) {
		requireContainer(t, c, "release", box)
		steps = append(steps, box.Args[0])
	}
	require.Equal(t, []string{"migrate", "schema", "topics"}, steps)
}

func requireContainer(t *testing.T, c cluster, name string, box core.Container) {
	t.Helper()
	env := maps.Clone(c.settings)
	for _, e := range box.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = name + "-0"
		}
	}
	requireCommand(t, name, box.Args, env)
}

// What lies in the folder and is not listed would never be applied, and nobody would notice.
func TestEveryManifestIsListed(t *testing.T) {
	t.Parallel()
	list := read(t, "cluster/kustomization.yaml")
	require.NoError(t, filepath.WalkDir("cluster", func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		if name := strings.TrimPrefix(filepath.ToSlash(path), "cluster/"); !d.IsDir() && name != "kustomization.yaml" {
			require.Contains(t, list, name)
		}
		return nil
	}))
}
