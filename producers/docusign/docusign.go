// Package docusign is DocuSign's eSignature as a source: the envelopes of one account. DocuSign sends
// signed webhooks (Connect) for what happens to an envelope; where they hold the record it is the fact
// at once, else it is read, and every quarter of an hour the list of what changed is walked for what no
// webhook told. A fact has one part, the envelope with its recipients, custom fields and the names of
// its documents, or two, where a webhook brought the envelope and the names were known.
//
// Webhooks come without the documents' names unless the setting include_documents asks for them,
// since DocuSign sends those with the documents themselves, many megabytes each. Until somebody has
// signed, that makes no difference; the first signature has the envelope read, and from then on
// webhooks are completed with the names that were read (Keep, Complete), until a delivery may have
// changed them. DocuSign wants no envelope read more often than every quarter of an hour
// (producers.Vendor.Again). The package writes nothing to envelopes; at the account it writes the
// Connect configuration that makes DocuSign send its webhooks to us, when a person asks for it.
//
// Unknown of DocuSign, and built for both answers: whether an attempt keeps the time at which a
// delivery was made (if not, an attempt looks like a new delivery, which costs nothing but a look), in
// which order deliveries come, and whether leaves in webhooks are texts.
package docusign

import (
	_ "embed"
	"fmt"
	"time"

	"conveyance/internal/tenant"
	"conveyance/producers"
)

const (
	// Name is the vendor's: folder, URL, log field.
	Name = "docusign"
	// KindEnvelope is the one kind of record.
	KindEnvelope = "envelope"
	// pollEvery is the time between two walks of the list: webhooks are the way in, this is for the
	// ones that never came. A walk is one call where little changed, of 3,000 an hour.
	pollEvery = 15 * time.Minute
	// again is DocuSign's rule for reading one envelope.
	again = 15 * time.Minute
	// accountServer is where people consent and tokens are given, for accounts in production.
	accountServer = "https://account.docusign.com"
	// answerWithin is what DocuSign asks for; after 100 s it takes the delivery for failed.
	answerWithin = 5 * time.Second
)

var (
	//go:embed schema/envelope.json
	envelopeSchema []byte
	//go:embed schema/account.json
	accountSchema []byte
)

// Source reads DocuSign. It is safe for concurrent use.
type Source struct {
	client    client
	envelope  *producers.Contract
	publicURL string
	// signatureNames are the headers that Verify looks for.
	signatureNames []string
	macs           macs
}

// New returns the vendor's line of the register.
func New(d producers.Deps) (producers.Vendor, error) {
	envelope, err := producers.NewContract(envelopeSchema)
	if err != nil {
		return producers.Vendor{}, fmt.Errorf("schema/envelope.json: %w", err)
	}
	s := &Source{client: client{d.HTTP}, envelope: envelope, publicURL: d.PublicURL, signatureNames: signatureNames()}
	return producers.Vendor{
		Name: Name, Webhook: s, Poller: s, Fetcher: s, Mapper: s, Completer: s, Checker: s, Subscriber: s,
		Kinds: []string{KindEnvelope}, PollEvery: pollEvery, Again: again, AccountSchema: accountSchema,
		OAuth: &tenant.OAuth{ //nolint:gosec // G101: paths, no credential
			BaseURL: accountServer, AuthorizePath: "/oauth/auth", TokenPath: "/oauth/token",
			UserInfoPath: "/oauth/userinfo", AccountIDs: []string{"accounts", "account_id"},
			Scopes: []string{"signature", "extended"}, // extended: a used refresh token lasts another 30 days
			JWT:    true, JWTScopes: []string{"signature", "impersonation"},
		},
		Answer: answerWithin, Links: true,
	}, nil
}

// now is our clock as events carry it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
