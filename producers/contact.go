package producers

import (
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// region in which a telephone number without a country is read.
const region = "US"

// digitsLeast of a number without its area.
const digitsLeast = 7

// Emails returns the addresses in a text, lower case, in their order without repeats: people write
// several into one field. all is false where something in it is no address. Every vendor's mapper
// uses it, since contact keys are made of what it returns.
func Emails(text string) (emails []string, all bool) {
	if word := strings.ToLower(text); isEmail(word) {
		return []string{word}, true
	}
	all = true
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), isSeparator) {
		switch {
		case !isEmail(word):
			all = false
		case !slices.Contains(emails, word):
			emails = append(emails, word)
		}
	}
	return emails, all
}

func isSeparator(r rune) bool {
	return r == ';' || r == ',' || r == '<' || r == '>' || unicode.IsSpace(r)
}

// isEmail is deliberately less than RFC 5322: quoted local parts and bare hosts are slips here.
func isEmail(s string) bool {
	local, host, found := strings.Cut(s, "@")
	if !found || local == "" || len(s) > 254 || strings.ContainsFunc(local, notLocal) {
		return false
	}
	label, rest, more := strings.Cut(host, ".")
	if !more {
		return false
	}
	for ; more; label, rest, more = strings.Cut(rest, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return isLabel(label)
}

func isLabel(s string) bool {
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, notHost)
}

func notLocal(r rune) bool {
	if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' {
		return false // what nearly all are made of
	}
	return r == '@' || r == '"' || r == '(' || r == ')' || r == '\\' || r == ':' || isSeparator(r) || !unicode.IsGraphic(r)
}

func notHost(r rune) bool {
	return ('a' > r || r > 'z') && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// Phone returns a telephone number as E.164 where it can be read as one, with the United States as
// its country where it names none, else as it is written; empty where it has too few digits to be a
// number, since people write remarks there, and a remark must not become a contact key. Extensions
// are dropped.
func Phone(text string) string {
	text = strings.TrimSpace(text)
	if e164, ok := northAmerican(text); ok {
		return e164
	}
	if len(strings.Map(digitOnly, text)) < digitsLeast {
		return ""
	}
	n, err := phonenumbers.Parse(text, region)
	if err != nil || phonenumbers.IsPossibleNumberWithReason(n) != phonenumbers.IS_POSSIBLE {
		return text
	}
	return phonenumbers.Format(n, phonenumbers.E164)
}

func digitOnly(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return -1
}

// northAmerican reads the usual ways to write a ten-digit number without the library, which needs
// fifty times as long.
func northAmerican(text string) (string, bool) {
	const longest = 11 // with the country code
	digits := make([]byte, 0, longest)
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9' && len(digits) < longest:
			digits = append(digits, c)
		case c == ' ', c == '-', c == '.', c == '(', c == ')', c == '+' && i == 0:
		default:
			return "", false
		}
	}
	if len(digits) == longest && digits[0] == '1' {
		digits = digits[1:]
	} else if strings.HasPrefix(text, "+") {
		return "", false
	}
	if len(digits) != longest-1 || digits[0] < '2' || digits[3] < '2' {
		return "", false
	}
	return "+1" + string(digits), true
}
