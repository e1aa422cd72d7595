package k8s_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ebox-gateway/internal/testkit"
)

// The kinds of cert-manager and External Secrets, as far as the examples use them, so that
// a mistyped field is found.
type (
	certificate struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			SecretName  string          `json:"secretName"`
			Duration    metav1.Duration `json:"duration"`
			RenewBefore metav1.Duration `json:"renewBefore"`
			PrivateKey  struct {
				Algorithm      string `json:"algorithm"`
				Size           int    `json:"size"`
				RotationPolicy string `json:"rotationPolicy"`
			} `json:"privateKey"`
			Usages    []string `json:"usages"`
			DNSNames  []string `json:"dnsNames"`
			IssuerRef struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"issuerRef"`
		} `json:"spec"`
	}
	externalSecret struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			RefreshInterval metav1.Duration `json:"refreshInterval"`
			SecretStoreRef  struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"secretStoreRef"`
			Target struct {
				Name           string `json:"name"`
				CreationPolicy string `json:"creationPolicy"`
			} `json:"target"`
			Data []struct {
				SecretKey string `json:"secretKey"`
				RemoteRef struct {
					Key              string `json:"key"`
					Property         string `json:"property"`
					DecodingStrategy string `json:"decodingStrategy,omitempty"`
				} `json:"remoteRef"`
			} `json:"data"`
		} `json:"spec"`
	}
)

func example(t *testing.T, name string) []metav1.Object {
	t.Helper()
	objects, err := decode([]byte(testkit.Read(t, filepath.Join("examples", name))))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, o := range objects {
		if o.GetNamespace() != "ebox-production" {
			t.Errorf("%s is in the namespace %q", o.GetName(), o.GetNamespace())
		}
	}
	return objects
}

// keysOf are the keys that production's pods take from each Secret.
func keysOf(t *testing.T, m *manifests) map[string][]string {
	t.Helper()
	keys := make(map[string][]string)
	for _, v := range named[*appsv1.StatefulSet](t, m, "ebox-gateway").Spec.Template.Spec.Volumes {
		if v.Secret == nil {
			continue
		}
		for _, item := range v.Secret.Items {
			keys[v.Secret.SecretName] = append(keys[v.Secret.SecretName], item.Key)
		}
	}
	for _, e := range container(t, m).Env {
		ref := e.ValueFrom.SecretKeyRef
		keys[ref.Name] = append(keys[ref.Name], ref.Key)
	}
	for _, list := range keys {
		slices.Sort(list)
	}
	return keys
}

func TestExternalSecretsHaveTheKeysThatPodsTake(t *testing.T) {
	want := keysOf(t, render(t, "production"))
	delete(want, "ebox-gateway-tls") // cert-manager's, below
	for _, o := range example(t, "external-secrets.yaml") {
		s := o.(*externalSecret)
		var got []string
		for _, d := range s.Spec.Data {
			got = append(got, d.SecretKey)
			if binary := strings.HasSuffix(d.SecretKey, ".p12"); binary != (d.RemoteRef.DecodingStrategy == "Base64") {
				t.Errorf("%s of %s is decoded with %q", d.SecretKey, s.Name, d.RemoteRef.DecodingStrategy)
			}
		}
		slices.Sort(got)
		if name := s.Spec.Target.Name; !slices.Equal(got, want[name]) {
			t.Errorf("the Secret %s gets the keys %v, and pods take %v", name, got, want[name])
		} else {
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("the example does not make the Secret %s", name)
	}
}

func TestTheCertificateIsThatOfTheService(t *testing.T) {
	m := render(t, "production")
	objects := example(t, "cert-manager.yaml")
	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}
	c := objects[0].(*certificate)
	// What cert-manager writes into a Secret.
	if got := keysOf(t, m)[c.Spec.SecretName]; !slices.Equal(got, []string{"ca.crt", "tls.crt", "tls.key"}) {
		t.Errorf("pods take %v from the Secret %s", got, c.Spec.SecretName)
	}
	known := slices.Sorted(slices.Values(configuration(t, m).Server.AllowedHosts))
	if names := slices.Sorted(slices.Values(c.Spec.DNSNames)); !slices.Equal(names, known) {
		t.Errorf("the certificate is for %v, and the gateway answers to %v", names, known)
	}
	if c.Spec.RenewBefore.Duration >= c.Spec.Duration.Duration {
		t.Errorf("it is renewed %s before the end of %s", c.Spec.RenewBefore, c.Spec.Duration)
	}
}
