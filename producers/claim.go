package producers

import (
	"strings"
	"unicode"
)

// PlainClaim keeps letters and digits, in lower case, so that two ways to write a number agree.
func PlainClaim(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// streetWords are the words that people shorten in addresses, and how USPS Publication 28 does.
var streetWords = map[string]string{
	"street": "st", "avenue": "ave", "boulevard": "blvd", "drive": "dr", "court": "ct", "lane": "ln", "road": "rd",
	"place": "pl", "terrace": "ter", "circle": "cir", "parkway": "pkwy", "highway": "hwy", "square": "sq", "trail": "trl",
	"north": "n", "south": "s", "east": "e", "west": "w", "apartment": "apt", "suite": "ste", "unit": "apt",
}

// AddressClaim makes one line of text of an address's parts, such that the usual ways to write one
// address agree: case, punctuation and shortened words do not count. The parts are joined in order:
// street, unit, city, state, postal code, each of which may be empty.
func AddressClaim(parts ...string) string {
	words := strings.FieldsFunc(strings.ToLower(strings.Join(parts, " ")), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for i, w := range words {
		if short, ok := streetWords[w]; ok {
			words[i] = short
		}
	}
	return strings.Join(words, "")
}
