package preflight

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// What to do about each way in which connecting fails.

func adviceOnDNS(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such name: look at how it is spelled, and whether this machine's resolver (/etc/resolv.conf) knows " +
			"outside names; if not, egress.proxy may be missing"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the resolver does not answer: look at /etc/resolv.conf and at the firewall, port 53"
	}
	return "look at /etc/resolv.conf"
}

// adviceOnTCP is by the kind of failure. Of an address that is prohibited, the error says it.
var adviceOnTCP = map[string]string{
	problem.ProxyConnectionRefused: "the host is there and nothing listens on the port: look at the port in the URL, or " +
		"whether the service runs",
	problem.ProxyConnectionTimeout: "nobody answers: a firewall drops the packets. Have it opened, or set egress.proxy " +
		"if that is the way out",
	problem.ProxyIPUnroutable: "there is no route to the address: set egress.proxy if that is the way out",
}

// adviceOnTLS says what is wrong with the other side's certificate and what to do.
func adviceOnTLS(err error, host string, now time.Time) (detail, advice string) {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		broken  tls.RecordHeaderError
	)
	detail = reason(err)
	switch {
	case errors.As(err, &unknown):
		issuer := "an authority without a name"
		if unknown.Cert != nil {
			issuer = unknown.Cert.Issuer.String()
		}
		return "the certificate was issued by " + issuer + ", which this machine does not trust",
			"if that is your company's own authority (a proxy that looks into TLS), add egress.caFile with its certificate in " +
				"PEM; if it is nobody you know, do not"
	case errors.As(err, &name):
		return "the certificate is for " + names(name.Certificate) + " and not for " + host,
			"look at the host in the URL, and whether DNS leads to the right machine"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil &&
		now.Before(invalid.Cert.NotBefore):
		return "the certificate is not valid before " + invalid.Cert.NotBefore.Format(time.DateTime) + " UTC",
			"look at this machine's clock"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return "the certificate expired on " + invalid.Cert.NotAfter.Format(time.DateTime) + " UTC",
			"look at this machine's clock; if it is right, the keepers of the host have to renew it"
	case errors.As(err, &broken):
		return "the other side does not speak TLS", "look at the port in the URL, or whether it should begin with http://"
	}
	return detail, ""
}

func names(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return strings.Join(c.DNSNames, ", ")
	}
	return c.Subject.CommonName
}
