package tenant

// OAuth says how accounts of one vendor are connected. Data only: the flows are written once.
type OAuth struct {
	// BaseURL is the vendor's account server, for example https://account.docusign.com; an account's
	// setting oauth_base_url overrules it (a demonstration account, a simulated vendor).
	BaseURL string
	// AuthorizePath and TokenPath lie below it.
	AuthorizePath, TokenPath string
	Scopes                   []string
	// JWT says that the vendor takes a signed assertion (RFC 7523) in place of a person's consent,
	// where the account's credential holds user_id and private_key beside client_id.
	JWT bool
	// JWTScopes are asked for with the assertion.
	JWTScopes []string
}
