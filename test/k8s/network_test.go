package k8s_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ebox-gateway/internal/testkit"
)

// peer is one end of a connection: a pod, or an address outside the cluster.
type peer struct {
	namespace map[string]string // its labels; nil outside
	labels    map[string]string
	address   netip.Addr
}

// network decides as a network plugin does: a pod that a policy speaks of lets through
// what one of them allows.
type network struct {
	*manifests
	t    *testing.T
	home map[string]string // labels of the manifests' own namespace
}

func newNetwork(t *testing.T, m *manifests) *network {
	ns := all[*corev1.Namespace](m)[0]
	return &network{m, t, labelled(ns.Name, ns.Labels)}
}

// labelled are the labels of a namespace, with the one that every namespace has.
func labelled(name string, more map[string]string) map[string]string {
	l := map[string]string{"kubernetes.io/metadata.name": name}
	maps.Copy(l, more)
	return l
}

// allows decides on a connection to (Ingress) or from (Egress) a pod of a set.
func (n *network) allows(direction networkingv1.PolicyType, set string, other peer, port int32) bool {
	n.t.Helper()
	s := named[*appsv1.StatefulSet](n.t, n.manifests, set)
	isolated := false
	for _, p := range all[*networkingv1.NetworkPolicy](n.manifests) {
		if !selects(n.t, &p.Spec.PodSelector, s.Spec.Template.Labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		isolated = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, rule := range p.Spec.Ingress {
				if n.from(rule.From, other) && n.port(rule.Ports, s, port) {
					return true
				}
			}
			continue
		}
		for _, rule := range p.Spec.Egress {
			// A named port is the other side's; here all of those are Redis.
			for _, r := range all[*appsv1.StatefulSet](n.manifests) {
				if n.from(rule.To, other) && n.port(rule.Ports, r, port) {
					return true
				}
			}
		}
	}
	return !isolated
}

func (n *network) from(peers []networkingv1.NetworkPolicyPeer, other peer) bool {
	for _, p := range peers {
		if p.IPBlock != nil {
			if other.namespace == nil && inBlock(n.t, p.IPBlock, other.address) {
				return true
			}
			continue
		}
		if other.namespace == nil {
			continue
		}
		inNamespace := selectsOrHome(n, p.NamespaceSelector, other.namespace)
		if inNamespace && (p.PodSelector == nil || selects(n.t, p.PodSelector, other.labels)) {
			return true
		}
	}
	return len(peers) == 0
}

func selectsOrHome(n *network, s *metav1.LabelSelector, namespace map[string]string) bool {
	if s == nil {
		return namespace["kubernetes.io/metadata.name"] == n.home["kubernetes.io/metadata.name"]
	}
	return selects(n.t, s, namespace)
}

func inBlock(t *testing.T, block *networkingv1.IPBlock, a netip.Addr) bool {
	within := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		testkit.Must(t, err)
		return prefix.Contains(a)
	}
	for _, except := range block.Except {
		if within(except) {
			return false
		}
	}
	return within(block.CIDR)
}

func (n *network) port(ports []networkingv1.NetworkPolicyPort, s *appsv1.StatefulSet, port int32) bool {
	for _, p := range ports {
		if p.Port == nil || p.Port.IntVal == port {
			return true
		}
		for _, c := range s.Spec.Template.Spec.Containers {
			for _, cp := range c.Ports {
				if cp.Name == p.Port.StrVal && cp.ContainerPort == port {
					return true
				}
			}
		}
	}
	return len(ports) == 0
}

func TestOnlyChosenNamespacesReachAListener(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		n := newNetwork(t, m)
		in := func(who peer, port int32) bool {
			return n.allows(networkingv1.PolicyTypeIngress, "ebox-gateway", who, port)
		}
		ports := map[string]int32{}
		for _, p := range container(t, m).Ports {
			ports[p.Name] = p.ContainerPort
		}
		stranger := peer{namespace: labelled("elsewhere", nil)}
		neighbour := peer{namespace: n.home}
		outside := peer{address: netip.MustParseAddr("198.51.100.7")}
		for name, port := range ports {
			for who, p := range map[string]peer{"a pod of any namespace": stranger, "another pod of this namespace": neighbour,
				"an address outside": outside} {
				if in(p, port) {
					t.Errorf("%s reaches the listener %s", who, name)
				}
			}
			if name == "admin" {
				continue
			}
			allowed := peer{namespace: labelled("payroll", map[string]string{"ebox-gateway/" + name: "allowed"})}
			for other, otherPort := range ports {
				if got := in(allowed, otherPort); got != (other == name) {
					t.Errorf("a namespace allowed to use %s: reaches %s: %t", name, other, got)
				}
			}
		}
		prometheus := peer{namespace: labelled("monitoring", nil),
			labels: map[string]string{"app.kubernetes.io/name": "prometheus"}}
		if got, want := in(prometheus, ports["admin"]), len(all[*serviceMonitor](m)) > 0; got != want {
			t.Errorf("Prometheus reaches the admin listener: %t", got)
		}
		if in(prometheus, ports["services"]) {
			t.Error("Prometheus reaches the callers' listener")
		}
	})
}

func TestTheGatewayReachesItsUpstreamsAndNothingElse(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		n := newNetwork(t, m)
		out := func(who peer, port int32) bool {
			return n.allows(networkingv1.PolicyTypeEgress, "ebox-gateway", who, port)
		}
		at := func(s string) peer { return peer{address: netip.MustParseAddr(s)} }
		byProxy := m.name == "acceptance-by-proxy"
		dns, dnsPort := "kube-system", int32(53)
		if m.name == "production-on-openshift" {
			dns, dnsPort = "openshift-dns", 5353
		}
		redis := len(all[*appsv1.StatefulSet](m)) > 1
		for name, c := range map[string]struct {
			peer
			port int32
			want bool
		}{
			"https on the internet":        {at("198.51.100.7"), 443, !byProxy},
			"https on the internet by v6":  {at("2001:db8::7"), 443, !byProxy},
			"http on the internet":         {at("198.51.100.7"), 80, false},
			"the proxy":                    {at("192.0.2.1"), 3128, byProxy},
			"a private address":            {at("10.1.2.3"), 443, false},
			"a private address by v6":      {at("fd00::1"), 443, false},
			"v4 wrapped for NAT64":         {at("64:ff9b::a01:203"), 443, false},
			"the metadata service":         {at("169.254.169.254"), 443, false},
			"the cluster's DNS":            {peer{namespace: labelled(dns, nil)}, dnsPort, true},
			"anything else in kube-system": {peer{namespace: labelled("kube-system", nil)}, 6443, false},
			"Redis": {
				peer{namespace: n.home, labels: map[string]string{"app.kubernetes.io/name": "ebox-redis"}}, 6379, redis},
			"a Redis of somebody else": {
				peer{namespace: labelled("shop", nil), labels: map[string]string{"app.kubernetes.io/name": "ebox-redis"}},
				6379, false},
		} {
			if got := out(c.peer, c.port); got != c.want {
				t.Errorf("%s: reached %t", name, got)
			}
		}
	})
}

func TestRedisIsForTheGatewayAlone(t *testing.T) {
	n := newNetwork(t, render(t, "production"))
	pods := named[*appsv1.StatefulSet](t, n.manifests, "ebox-gateway").Spec.Template.Labels
	gateway := peer{namespace: n.home, labels: pods}
	if !n.allows(networkingv1.PolicyTypeIngress, "ebox-redis", gateway, 6379) {
		t.Error("the gateway does not reach Redis")
	}
	for name, other := range map[string]peer{
		"another pod of the namespace":    {namespace: n.home},
		"a pod elsewhere with our labels": {namespace: labelled("elsewhere", nil), labels: pods},
		"a namespace that may use a gateway": {
			namespace: labelled("payroll", map[string]string{"ebox-gateway/services": "allowed"})},
	} {
		if n.allows(networkingv1.PolicyTypeIngress, "ebox-redis", other, 6379) {
			t.Errorf("%s reaches Redis", name)
		}
	}
	if n.allows(networkingv1.PolicyTypeEgress, "ebox-redis", peer{address: netip.MustParseAddr("198.51.100.7")}, 443) {
		t.Error("Redis reaches the internet")
	}
}
