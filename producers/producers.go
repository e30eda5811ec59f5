// Package producers is everything the bus knows of vendors as sources: one folder per vendor, and
// here what such a folder offers. A vendor's folder names no topic, group, offset or goroutine, and
// imports no stage; register.go lists the vendors.
package producers

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
)

// Secret is one key that may sign a vendor's webhooks.
type Secret = tenant.WebhookKey

// Webhook takes a vendor's deliveries in.
type Webhook interface {
	// Verify returns the id of the key that signed exactly these bytes, the first in the order of keys
	// where several did, and an error, with no id, where none did. The caller passes live keys only. It
	// looks at every key and every header, in constant time, never parses the body, and its error says
	// nothing that a caller may answer: all refusals are alike to the sender.
	Verify(h http.Header, body []byte, keys []Secret) (keyID string, err error)
	// Whose is pure, and all that the door asks of a body: the delivery's id and the vendor's id of the
	// account, as Hints says them. It does not look at the records that the body holds.
	Whose(body []byte) (id, account string, err error)
	// Hints is pure: whose delivery it is, the resources that it names, and the fact itself if the
	// body holds it.
	Hints(body []byte) (Delivery, error)
}

// Delivery is what a webhook's body says.
type Delivery struct {
	ID        string // the vendor's id of the delivery, or what is stable between attempts
	Account   string // the vendor's external account id
	Resources []event.Resource
	Fact      *event.VendorSnapshot // the whole record, where the body holds it
	// Partial is the record but for what a Completer knows, without a digest, where the body holds that
	// and Fact is nil. It is no fact until it is completed.
	Partial *event.VendorSnapshot
}

// Completer fills what a webhook's record lacks from what was held of the record before, so that
// nothing is read that is known. It is pure.
type Completer interface {
	// Keep returns what later webhooks of the record lack and s holds, a few KiB at most; nil where that
	// is nothing. It is used until the next read: a delivery after which it may be another has neither
	// Fact nor Partial.
	Keep(s event.VendorSnapshot) []byte
	// Complete returns a Delivery's Partial whole, with its digest: the same as that of a read that
	// finds the same. False where kept does not do, so that the record must be read.
	Complete(partial event.VendorSnapshot, kept []byte) (event.VendorSnapshot, bool)
}

// Cursor is where a poller stands, in the poller's own JSON. Nil is the beginning.
type Cursor json.RawMessage

// Change is one record that a poller found changed.
type Change struct {
	Resource event.Resource
	Version  int64                 // as in VendorSnapshot; 0 = unknown
	Fact     *event.VendorSnapshot // the whole record, where the list holds it; without token and lane
}

// Poller yields what changed at an account since a cursor, oldest first, with an overlap that
// covers the vendor's clock and late commits. The returned cursor is stored only after everything
// that was yielded is acknowledged. It blocks for as long as the vendor takes; errors carry verdicts.
type Poller interface {
	Poll(ctx context.Context, a tenant.Account, since Cursor, yield func(Change) error) (Cursor, error)
}

// Fetcher reads a record whole, all parts or none. A 404 is a snapshot with Gone set, not an error.
// The caller fills token and lane. Errors carry verdicts.
type Fetcher interface {
	Fetch(ctx context.Context, a tenant.Account, r event.Resource) (event.VendorSnapshot, error)
}

// Mapper turns a snapshot into facts. It is pure: no clock, no I/O, no memory. An error parks the
// snapshot with its text as the cause, so it names the path that broke; a value that is merely
// unknown is no error but a Drift.
type Mapper interface {
	Map(s event.VendorSnapshot) (Facts, error)
}

// Facts are what one snapshot says, in canonical words and without ids: translate fills contact
// keys, deal keys and origins. Slices are in the vendor's order.
type Facts struct {
	Deal       *event.Deal // nil where the record is no deal; with its participants and commission
	Signatures []Signature
	Claims     []Claim
	Drift      []Drift
}

// Signature is one signer's signature of one document.
type Signature struct {
	DocumentID, DocumentName, EnvelopeID string
	Signer                               event.Contact
	SignerRole                           string
	SignedAt                             time.Time
	Complete                             bool
}

// Claim is a piece of evidence that ties a record to a deal, in clear; translate stores its HMAC.
type Claim struct {
	Kind  string // a Claim constant, or ClaimField and a name
	Value string // normalised: PlainClaim, lower-case e-mails, AddressClaim
}

// The kinds of claims.
const (
	ClaimDealID  = "deal_id"   // the transaction system's own id of the deal
	ClaimMLS     = "mls"       // the listing's number
	ClaimEscrow  = "escrow_no" // the escrow or title number
	ClaimEmail   = "email"     // of somebody who buys or sells: agents and officers are in many deals
	ClaimAddress = "address"   // of the property
	// ClaimField and a lower-case name, for example "field:deal id", is a field that people filled in:
	// the account's settings say which of the kinds above it is, if any.
	ClaimField = "field:"
)

// The kinds of drift.
const (
	DriftUnknownField = "unknown-field"
	DriftUnknownValue = "unknown-value"
	DriftRetyped      = "retyped"
)

// Drift is something in a snapshot that the contract does not know: counted and shown, so that a
// vendor's rename is loud on the day it happens. Value holds no personal data.
type Drift struct {
	Path string // JSON pointer without indexes, for example /status
	Kind string // one of the Drift constants
	What string // the unknown word, where it is one of a closed list; else empty
}

// Vendor is one line of the register: what a folder offers, each part nil where the vendor lacks it.
type Vendor struct {
	Name    string // folder, URL, flag prefix, log field
	Webhook Webhook
	Poller  Poller
	Fetcher Fetcher
	Mapper  Mapper
	// Completer fills webhooks' records. Nil where they are whole, or are read.
	Completer Completer
	// Kinds are the kinds of resources that Map understands.
	Kinds []string
	// PollEvery is how often an account is polled; also the reconciliation interval.
	PollEvery time.Duration
	// Again is the least time between two reads of one record by Fetch, where the vendor has such a
	// rule: fetch lets a hint wait for it. Zero = none.
	Again time.Duration
	// AccountSchema is the JSON Schema (draft 2020-12) of an account's credential and settings:
	// {"credential": {...}, "settings": {...}}.
	AccountSchema []byte
	// Checker asks the vendor whether an account's credentials and settings work, and whether its
	// webhooks come to us.
	Checker tenant.Checker
	// Subscriber makes the vendor send its webhooks to us. Nil where people must do it by hand.
	Subscriber Subscriber
	// OAuth says how an account is connected. Nil where its credential is all.
	OAuth *tenant.OAuth
	// Answer is how long the vendor may wait for an answer to a webhook. Zero = it has none.
	Answer time.Duration
	// Links says that the vendor's records are no deals, and are tied to deals by their claims.
	Links bool
}

// Subscriber finds and repairs what makes a vendor send an account's webhooks to a URL.
type Subscriber interface {
	// Subscribe makes what is missing and mends what is wrong, and says in a few words each what it
	// changed; nothing where all is well. It blocks for a few calls; errors carry verdicts.
	Subscribe(ctx context.Context, a tenant.Account, url string) (changed []string, err error)
}

// Deps are what vendors' folders work with.
type Deps struct {
	// HTTP makes their calls. Nil where only mappers are used.
	HTTP vendorhttp.Doer
	// PublicURL is where vendors reach this bus, without a path: https://hooks.example.com. Empty
	// where nobody asks about webhooks.
	PublicURL string
}
