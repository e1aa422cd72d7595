package whole_test

import "testing"

func TestTheRegistrysURLMayBeItsBaseOrItsList(t *testing.T) {
	for _, c := range []struct{ name, path string }{
		{"the newer list", "documentProviderRegistry/v1/messageRegistries"},
		{"the newer base", "documentProviderRegistry/v1"},
		{"the older list", "v1/messageProviders"},
		{"the older base", "v1/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, edit("documentProviderRegistry/v1/messageRegistries", c.path))
			h.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
		})
	}
}
