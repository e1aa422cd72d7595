package config

// dangers are the keys that give up a check, or can do harm, and what then.
func dangers() map[string]string {
	return map[string]string{
		"server.listen.open":            "Everybody who reaches the address reads and changes every e-Box.",
		"server.allowedOrigins":         "A page of that origin acts with the reach of whoever visits it.",
		"server.trustedProxies":         "Whoever is in such a network can pretend to be any caller.",
		"oauth.allowHttp":               "Whoever listens on the way gets tokens.",
		"oauth.allowPrivateNetworks":    "A name that resolves inside the company is believed.",
		"tenancy.mode":                  "`any` leaves it to the upstream for whom calls are allowed.",
		"callers.own":                   "The caller reads the office's own e-Box, and makes citizen mandates in its name.",
		"registry.allowedHosts":         "Every host here receives tokens.",
		"registry.allowHttp":            "Whoever listens on the way gets tokens and documents.",
		"registry.allowPrivateNetworks": "A registry that was tampered with could lead calls into the company's network.",
		"audit.stopAfter":               "`never` lets reads and writes go on of which nothing is proven.",
		"tracing.allowHttp":             "Whoever is on the way reads the collector's credentials.",
		"routes.callerCredentials":      "What a caller sends as its own credentials reaches the upstream.",
		"routes.scopes":                 "A scope too many is one that the receiver of the token could use elsewhere.",
		"routes.allowHttp":              "Whoever listens on the way gets tokens and documents.",
		"routes.allowPrivateNetworks":   "A name that resolves inside the company is believed.",
		"routes.cache.shared":           "`always` gives one enterprise's answer to another.",
		"routes.cache.staleIfError":     "A state that is no longer true may be shown.",
	}
}
