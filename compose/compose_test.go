package compose

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// isJob tells what ends from what stays.
func isJob(s types.ServiceConfig) bool { return s.HealthCheck == nil || s.HealthCheck.Disable }

func TestEveryServiceHasAHealthCheckOrIsAJobThatEnds(t *testing.T) {
	t.Parallel()
	p := project(t)
	for name, s := range p.Services {
		switch {
		case !isJob(s):
			require.Equal(t, "unless-stopped", s.Restart, name)
			require.NotEmpty(t, s.HealthCheck.Test, name)
			require.NotNil(t, s.HealthCheck.StartPeriod, "%s has time to start", name)
		case slices.Contains(s.Profiles, "tools"):
			require.Equal(t, "no", s.Restart, name)
		default:
			require.Equal(t, "on-failure", s.Restart, name)
			require.Contains(t, ours(t, p), name, "only our own jobs go without")
		}
		require.NotZero(t, s.MemLimit, name)
		require.NotNil(t, s.StopGracePeriod, name)
		require.GreaterOrEqual(t, time.Duration(*s.StopGracePeriod), 12*time.Second, "%s drains for 10 s", name)
		require.NotNil(t, s.Logging, name)
	}
}

func TestEveryCommandAndSettingIsTheProducts(t *testing.T) {
	t.Parallel()
	p := project(t)
	for _, name := range ours(t, p) {
		if name == "sandbox" { // needs nobody, so it would run: TestSandboxAnswersItsOwnHealthCheck
			continue
		}
		s := p.Services[name]
		env := map[string]string{}
		for k, v := range s.Environment {
			env[k] = *v
		}
		args := slices.Clone([]string(s.Command))
		requireCommand(t, name, args, env)
		if !isJob(s) {
			require.Equal(t, []string{"CMD", "/conveyance", "health", "--ready"}, []string(s.HealthCheck.Test), name)
			requireCommand(t, name, s.HealthCheck.Test[2:], map[string]string{"CONVEYANCE_LISTEN": env["CONVEYANCE_LISTEN"]})
		}
	}
}

func TestEveryStageAndDestinationIsAServiceThatIsScraped(t *testing.T) {
	t.Parallel()
	p := project(t)
	want := map[string][]string{"ingest": {"ingest"}, "fetch": {"fetch"}, "translate": {"translate"}}
	for _, d := range destinations(t) {
		want["adapter-"+d.Name] = []string{"adapter", d.Name}
	}
	for name, command := range want {
		require.Equal(t, command, []string(p.Services[name].Command), name)
		require.Contains(t, scraped(t), name)
	}
	require.Len(t, scraped(t), len(want), "prometheus.yml names what is no stage")
}

func TestContainersOfOursWriteNothingAndMayNothing(t *testing.T) {
	t.Parallel()
	p := project(t)
	for _, name := range ours(t, p) {
		s := p.Services[name]
		require.True(t, s.ReadOnly, name)
		require.Equal(t, "65532:65532", s.User, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
		require.False(t, s.Privileged, name)
	}
}

func TestSecretsComeByFileAndPortsStayOnThisMachine(t *testing.T) {
	t.Parallel()
	p := project(t)
	secret := regexp.MustCompile(`(?i)password|secret|token|api_?key`)
	drawn := read(t, "secrets.sh")
	for name, s := range p.Secrets {
		require.NotEmpty(t, s.File, name)
		require.Contains(t, drawn, "secrets/"+name, "secrets.sh does not draw it")
	}
	for name, s := range p.Services {
		for key, value := range s.Environment {
			if secret.MatchString(key) {
				require.True(t, strings.HasPrefix(*value, "/run/secrets/"), "%s: %s", name, key)
			}
			require.NotRegexp(t, `://[^/@]*:[^/@]*@`, *value, "%s: %s holds a password", name, key)
		}
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, name)
		}
	}
}

// The contract alone says which topics there are: one job makes them from it, and brokers make none.
func TestTopicsAreMadeFromTheContractAlone(t *testing.T) {
	t.Parallel()
	p := project(t)
	require.Equal(t, []string{"topics", "apply", "--replication", "3"}, []string(p.Services["topics"].Command))
	brokers := 0
	for name, s := range p.Services {
		if s.Image != images(t)["KAFKA_IMAGE"] {
			continue
		}
		brokers++
		require.Equal(t, "false", *s.Environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"], name)
		require.Equal(t, "3", *s.Environment["KAFKA_DEFAULT_REPLICATION_FACTOR"], name)
		require.Equal(t, "2", *s.Environment["KAFKA_MIN_INSYNC_REPLICAS"], name)
		require.Equal(t, "3", *s.Environment["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"], name)
		require.Equal(t, "false", *s.Environment["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"], name)
		require.Equal(t, "BROKER://"+name+":9092", *s.Environment["KAFKA_ADVERTISED_LISTENERS"], name)
	}
	require.Equal(t, 3, brokers)
	for _, file := range []string{"compose.yaml", "prometheus/prometheus.yml", "prometheus/alerts.yml"} {
		require.NotRegexp(t, `\.v\d\b`, strings.ReplaceAll(read(t, file), "ccompat/v7", ""), "%s names a topic", file)
	}
}

// compose-go refuses cycles and unknown names; what it does not know is what a thing must wait for.
func TestWhatStartsWaitsForWhatItNeeds(t *testing.T) {
	t.Parallel()
	p := project(t)
	for name, s := range p.Services {
		for on, how := range s.DependsOn {
			want := types.ServiceConditionHealthy
			if isJob(p.Services[on]) {
				want = types.ServiceConditionCompletedSuccessfully
			}
			require.Equal(t, want, how.Condition, "%s waits for %s", name, on)
		}
	}
	needs := map[string][]string{
		"migrate": {"postgres"}, "schemas": {"registry"}, "topics": {"kafka-1", "kafka-2", "kafka-3"}, "tenants": {"migrate"},
	}
	for _, stage := range scraped(t) {
		needs[stage] = []string{"migrate", "schemas", "topics", "postgres", "registry", "kafka-1", "kafka-2", "kafka-3"}
	}
	for name, on := range needs {
		for _, other := range on {
			require.Contains(t, p.Services[name].DependsOn, other, name)
		}
	}
}

func TestConnectionsOfEveryProcessFitPostgres(t *testing.T) {
	t.Parallel()
	p := project(t)
	const each = 3 // of internal/postgres
	limit := regexp.MustCompile(`max_connections=(\d+)`).FindStringSubmatch(strings.Join(p.Services["postgres"].Command, " "))
	require.Len(t, limit, 2)
	require.Equal(t, "200", limit[1])
	require.Less(t, len(ours(t, p))*each*3, 200, "three replicas of everything")
}
