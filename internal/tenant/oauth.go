package tenant

// OAuth says how accounts of one vendor are connected. Data only: the flows are written once, in
// package oauth. The client authenticates by HTTP Basic (RFC 6749, 2.3.1), with client_id and
// client_secret of the account's credential, and proves with PKCE (S256) that it began the flow.
type OAuth struct {
	// BaseURL is the vendor's account server, for example https://account.docusign.com; an account's
	// setting oauth_base_url overrules it (a demonstration account, a simulated vendor).
	BaseURL string
	// AuthorizePath and TokenPath lie below it.
	AuthorizePath, TokenPath string
	// UserInfoPath says whose login it is; AccountIDs are the members that lead in its answer to the
	// ids of the login's accounts (lists are gone through), for example accounts, account_id. A consent
	// that does not lead to the account's external id is refused. Empty where the vendor offers none.
	UserInfoPath string
	AccountIDs   []string
	Scopes       []string
	// JWT says that the vendor takes a signed assertion (RFC 7523) in place of a person's consent,
	// where the account's credential holds user_id and private_key beside client_id. It is meant for the
	// host of BaseURL.
	JWT bool
	// JWTScopes are asked for with the assertion.
	JWTScopes []string
}
