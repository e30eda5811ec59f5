// Package topic is every topic of the bus, once: its name, what travels on it, and how Kafka keeps
// it. It is pure data; conveyance topics apply makes the topics so, and topics verify compares.
package topic

import (
	"time"

	"conveyance/avro/event"
)

const (
	// PartitionsDefault is the partition count of every topic, set once and never altered: an event
	// id lives in one partition of one group (protocol.md 17). 12 divides by 2, 3, 4 and 6 members.
	PartitionsDefault = 12
	// PrefixDefault stands before every topic, group and subject, since a national cluster is
	// shared and its ACLs are by prefix.
	PrefixDefault = "conveyance."
	// MessageBytesMax is the largest message of every topic but snapshots, Kafka's own default.
	MessageBytesMax = 1 << 20
	// SnapshotBytesMax is the largest snapshot: a vendor's aggregate, whole. Larger ones park.
	SnapshotBytesMax = 4 << 20
	// Forever as a retention keeps records until somebody decides otherwise.
	Forever = time.Duration(-1)
)

// The topics that do not belong to one vendor, without prefix.
const (
	Deals    = "deals.v1"
	Contacts = "contacts.v1"
	Links    = "links.v1"
	Golden   = "contacts.golden.v1"
)

// Topic is one topic of the bus.
type Topic struct {
	Name       string        // without prefix
	Types      []event.Type  // what travels on it; other types are skipped and counted
	Compact    bool          // cleanup.policy=compact instead of delete
	Retention  time.Duration // retention.ms; Forever = -1
	BytesMax   int           // max.message.bytes
	Key        string        // what the record key is, for people
	Partitions int           // set once, never altered
}

// Webhooks is the topic of a vendor's raw deliveries.
func Webhooks(vendor string) string { return "webhooks." + vendor + ".v1" }

// Snapshots is the topic of a vendor's records as they were read.
func Snapshots(vendor string) string { return "snapshots." + vendor + ".v1" }

// Table returns every topic for a set of vendors, in the order of the data.
func Table(partitions int, vendors ...string) []Topic {
	const day = 24 * time.Hour
	var table []Topic
	for _, v := range vendors {
		table = append(table, Topic{
			Name: Webhooks(v), Types: []event.Type{event.TypeWebhookReceived},
			Retention: 14 * day, BytesMax: MessageBytesMax, Key: "account and delivery id",
		}, Topic{
			Name: Snapshots(v), Types: []event.Type{event.TypeVendorSnapshot},
			Retention: Forever, BytesMax: SnapshotBytesMax, Key: "tenant/vendor/account/kind/id",
		})
	}
	table = append(table, Topic{
		Name: Deals,
		Types: []event.Type{
			event.TypeDealChanged, event.TypeTransactionStatusChanged,
			event.TypeCommissionChanged, event.TypeDocumentSigned,
		},
		Retention: 400 * day, BytesMax: MessageBytesMax, Key: "deal key: key of the deal's first resource",
	}, Topic{
		Name: Contacts, Types: []event.Type{event.TypeContactChanged},
		Retention: 400 * day, BytesMax: MessageBytesMax, Key: "contact key: pseudonym of e-mail or phone",
	}, Topic{
		Name: Golden, Types: []event.Type{event.TypeContactMastered},
		Compact: true, Retention: Forever, BytesMax: MessageBytesMax, Key: "golden id",
	}, Topic{
		Name: Links, Types: []event.Type{event.TypeResourceLinked, event.TypeResourceUnlinked},
		Compact: true, Retention: Forever, BytesMax: MessageBytesMax, Key: "key of the linked resource",
	})
	for i := range table {
		table[i].Partitions = partitions
	}
	return table
}
