package story

import (
	"fmt"
	"strconv"
	"strings"
)

// numbersPerArea is how many telephone numbers the exchange 555 has in one area.
const numbersPerArea = 10_000

func firstNames() []string {
	return []string{"Mira", "Otis", "Selma", "Jonas", "Petra", "Silas", "Noor", "Emil", "Tove", "Ravi", "Lena", "Hugo", "Ines", "Caleb", "Asta", "Milo"}
}

func lastNames() []string {
	return []string{"Holt", "Brandt", "Okafor", "Lindqvist", "Marlowe", "Sato", "Ferrer", "Nowak", "Abel", "Quist", "Rourke", "Devi", "Stone", "Varga", "Wilde", "Yates"}
}

func areas() []int {
	return []int{
		312, 773, 602, 480, 520, 206, 303, 404, 415, 503, 512, 561, 612, 615, 702, 704, 713, 719, 720, 727,
		801, 804, 813, 817, 828, 843, 858, 901, 904, 916, 919, 952, 970, 972, 978, 980,
	}
}

// person makes up somebody new. Most have an e-mail, now and then in capitals; those without have a
// telephone. Neither belongs to anybody else in stories with seeds near this one.
func (t *teller) person() map[string]any {
	n := t.people
	t.people++
	first, last := pick(t, firstNames()), pick(t, lastNames())
	p := blank()
	p["firstName"], p["lastName"] = first, last
	byPhone := t.chance(5)
	if !byPhone {
		mail := fmt.Sprintf("%s.%s.%sx%d@%s", strings.ToLower(first), strings.ToLower(last), strconv.FormatInt(t.seed, 36), n,
			pick(t, []string{"mail.example.com", "post.example.org", "home.test"}))
		if t.chance(10) {
			mail = strings.ToUpper(mail[:1]) + mail[1:]
		}
		p["email"] = mail
	}
	if byPhone || t.chance(40) {
		p["phoneNumber"] = t.phone(n)
	}
	if t.chance(8) {
		p["company"], p["isTrustCompanyOrOtherEntity"] = last+" Family Trust", true
	}
	return p
}

// phone is the n-th person's number, as one of the ways in which people write it.
func (t *teller) phone(n int) string {
	codes := areas()
	area := codes[(int(uint64(t.seed)%uint64(len(codes)))+n/numbersPerArea)%len(codes)] //nolint:gosec // G115: below len(codes)
	layout := pick(t, []string{"(%d) 555-%04d", "%d-555-%04d", "%d.555.%04d", "+1 %d 555 %04d"})
	return fmt.Sprintf(layout, area, n%numbersPerArea)
}

// professional is somebody of a company around the deal; clients of nobody.
func (t *teller) professional(trade string) map[string]any {
	p := blank()
	first, last := pick(t, firstNames()), pick(t, lastNames())
	p["firstName"], p["lastName"], p["company"] = first, last, last+" "+trade
	p["email"] = strings.ToLower(first+"."+last) + "@" + strings.ToLower(trade) + ".example.net"
	return p
}

// blank is a participant of whom nothing is known.
func blank() map[string]any {
	return map[string]any{
		"firstName": "", "lastName": "", "company": nil, "email": "", "phoneNumber": "", "alternatePhone": nil,
		"streetNumber": nil, "streetName": nil, "city": nil, "state": nil, "zip": nil, "isTrustCompanyOrOtherEntity": false, "notes": nil,
	}
}
