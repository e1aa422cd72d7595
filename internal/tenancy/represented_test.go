package tenancy

import (
	"testing"
)

func TestQueriesThatAServerWouldDecodeTwice(t *testing.T) {
	for _, q := range []string{
		"representedEnterpriseNumber=%2530212148896",
		"representedEnterpriseNumber=02121488%25396",
		"representedEnterpriseNumber=%25u0030212148896",
		"representedEnterprise=%2530212148896",
		"status=x%26representedEnterpriseNumber%3D0212148896",
		"status=x%2526representedEnterpriseNumber%253D0212148896",
		"status=x%252526representedEnterpriseNumber%25253D0212148896",
		"status%3Dx%26representedEnterpriseNumber=0212148896",
		"x%3Fa%3D1%26represented_enterprise_number%3D0212148896",
		"next=%2Fmandates%3FrepresentedEnterpriseNumber%3D0212148896",
		"represented%2545nterpriseNumber=0212148896",
	} {
		if n, err := NamedInQuery(q); err == nil {
			t.Errorf("%s: %+v", q, n)
		}
	}
	for _, q := range []string{
		"", "representedEnterpriseNumber=0212148896", "representedEnterpriseNumber=BE%200212.148.896", "representedEnterpriseNumber=0212+148+896",
		"q=100%25", "q=50%2525%20off", "q=a%26b%3Dc", "sort=representedEnterpriseNumber", "q=%C3%A9%25zz",
	} {
		if _, err := NamedInQuery(q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestMediaTypesThatSomeServerTakesForAForm(t *testing.T) {
	for _, media := range []string{
		"application/x-www-form-urlencoded+json", "application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded+JSON", "multipart/form-data",
		"application/json; x=application/x-www-form-urlencoded", "application/json; x=\"multipart/form-data\"", "multipart/x+json", "application/form-data+json",
		"application/json, text/plain", "application/json; charset=utf-16", "text/plain", "text/x+json",
	} {
		if CheckMedia(media, "") == nil {
			t.Errorf("%s counts as JSON", media)
		}
	}
	for _, media := range []string{"", "application/json", "application/merge-patch+json", "application/vnd.platform+json; profile=form", "application/json;charset=UTF-8", "text/json"} {
		if err := CheckMedia(media, ""); err != nil {
			t.Errorf("%s: %v", media, err)
		}
	}
}
