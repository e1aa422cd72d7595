package proxy

import "net/url"

type linkForms struct{}

func newLinkForms(base *url.URL, path string) linkForms { return linkForms{} }
