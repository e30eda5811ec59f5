package kafka

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"conveyance/internal/realparts"
)

func (c *Cluster) isVoter(id int) bool  { return slices.Contains(c.o.Layout.voters(), id) }
func (c *Cluster) isBroker(id int) bool { return slices.Contains(c.o.Layout.brokers(), id) }

func (c *Cluster) voters() string {
	var all []string
	for _, id := range c.o.Layout.voters() {
		all = append(all, c.nodes[id].voter())
	}
	return strings.Join(all, ",")
}

// properties is a node's server.properties.
func (c *Cluster) properties(n *node) string {
	lines := c.network(n)
	copies, inSync := "1", "1"
	if c.o.Layout != One {
		copies, inSync = "3", "2"
	}
	maps.Copy(lines, map[string]string{
		"node.id":                                          strconv.Itoa(n.id),
		"log.dirs":                                         filepath.Join(n.dir, "data"),
		"auto.create.topics.enable":                        "false",
		"default.replication.factor":                       copies,
		"min.insync.replicas":                              inSync,
		"offsets.topic.replication.factor":                 copies,
		"offsets.topic.num.partitions":                     "8",
		"transaction.state.log.replication.factor":         copies,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "8",
		"share.coordinator.state.topic.replication.factor": copies,
		"share.coordinator.state.topic.min.isr":            inSync,
		"group.initial.rebalance.delay.ms":                 "0",       // by default a first member waits 3 s for others
		"group.min.session.timeout.ms":                     "500",     // 6 s by default
		"log.cleaner.dedupe.buffer.size":                   "4194304", // 128 MiB of heap by default
	})
	if c.o.Security != Open {
		maps.Copy(lines, c.login())
	}
	if c.o.Security == TLS {
		maps.Copy(lines, c.certificates())
	}
	maps.Copy(lines, c.o.Set)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&text, "%s=%s\n", key, lines[key])
	}
	return text.String()
}

// network says who the node is to whom, and where.
func (c *Cluster) network(n *node) map[string]string {
	protocol := map[Security]string{Open: "PLAINTEXT", SCRAM: "SASL_PLAINTEXT", TLS: "SASL_SSL"}[c.o.Security]
	var roles, listeners []string
	protocols := []string{"CLIENT:" + protocol, "CONTROLLER:" + protocol}
	if c.isBroker(n.id) {
		roles = append(roles, "broker")
		listeners = append(listeners, "CLIENT://"+realparts.Loopback(n.ports[clientPort]))
		for i, d := range c.o.Doors {
			listeners = append(listeners, d.Name+"://"+realparts.Loopback(n.ports[doorPorts+i]))
			if d.Lab {
				protocols = append(protocols, d.Name+":PLAINTEXT")
				continue
			}
			protocols = append(protocols, d.Name+":"+protocol)
		}
	}
	if c.isVoter(n.id) {
		roles = append(roles, "controller")
		listeners = append(listeners, "CONTROLLER://"+realparts.Loopback(n.ports[controllerPort]))
	}
	var quorum []string
	for _, id := range c.o.Layout.voters() {
		quorum = append(quorum, realparts.Loopback(c.nodes[id].ports[controllerPort]))
	}
	return map[string]string{
		"process.roles":                       strings.Join(roles, ","),
		"controller.quorum.bootstrap.servers": strings.Join(quorum, ","),
		"listeners":                           strings.Join(listeners, ","),
		"advertised.listeners":                strings.Join(listeners, ","),
		"listener.security.protocol.map":      strings.Join(protocols, ","),
		"inter.broker.listener.name":          "CLIENT",
		"controller.listener.names":           "CONTROLLER",
	}
}

// login are the settings of SCRAM and ACLs. SCRAM's users live in the log that controllers fetch over their
// own listener, so that one cannot be secured by it: PLAIN there.
func (c *Cluster) login() map[string]string {
	const jaas = "org.apache.kafka.common.security."
	who := fmt.Sprintf("required username=%q password=%q", Admin, AdminPassword)
	lines := map[string]string{
		"sasl.enabled.mechanisms":                             "SCRAM-SHA-512",
		"sasl.mechanism.inter.broker.protocol":                "SCRAM-SHA-512",
		"sasl.mechanism.controller.protocol":                  "PLAIN",
		"listener.name.client.scram-sha-512.sasl.jaas.config": jaas + "scram.ScramLoginModule " + who + ";",
		"listener.name.controller.sasl.enabled.mechanisms":    "PLAIN",
		"listener.name.controller.plain.sasl.jaas.config": jaas + "plain.PlainLoginModule " + who +
			fmt.Sprintf(" user_%s=%q;", Admin, AdminPassword),
		"authorizer.class.name":          "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                    "User:" + Admin + ";User:ANONYMOUS", // who is anonymous has come by the test's own door
		"allow.everyone.if.no.acl.found": "false",
	}
	for _, d := range c.o.Doors {
		lines["listener.name."+strings.ToLower(d.Name)+".scram-sha-512.sasl.jaas.config"] = jaas + "scram.ScramLoginModule required;"
	}
	return lines
}

// certificates are the settings of TLS: one certificate for all nodes, another for each further door.
func (c *Cluster) certificates() map[string]string {
	lines := map[string]string{
		"ssl.keystore.type":       "PEM",
		"ssl.keystore.location":   c.pem("node"),
		"ssl.truststore.type":     "PEM",
		"ssl.truststore.location": c.CA(),
	}
	for _, d := range c.o.Doors {
		own := "listener.name." + strings.ToLower(d.Name) + "."
		lines[own+"ssl.keystore.type"], lines[own+"ssl.keystore.location"] = "PEM", c.pem(d.Name)
	}
	return lines
}
