package k8s_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// The tests run beside the manifests.
func TestMain(m *testing.M) {
	if err := os.Chdir("../../k8s"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The kinds of the Prometheus operator, as far as they are used here, so that a
// mistyped field is found as in any other.
type (
	serviceMonitor struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			JobLabel  string               `json:"jobLabel"`
			Selector  metav1.LabelSelector `json:"selector"`
			Endpoints []struct {
				Port          string `json:"port"`
				Path          string `json:"path"`
				Interval      string `json:"interval"`
				ScrapeTimeout string `json:"scrapeTimeout"`
				Relabelings   []struct {
					SourceLabels []string `json:"sourceLabels"`
					Separator    string   `json:"separator"`
					TargetLabel  string   `json:"targetLabel"`
				} `json:"relabelings"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	prometheusRule struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              ruleFile `json:"spec"`
	}
	ruleFile struct {
		Groups []struct {
			Name     string `json:"name"`
			Interval string `json:"interval,omitempty"`
			Rules    []struct {
				Alert         string            `json:"alert,omitempty"`
				Record        string            `json:"record,omitempty"`
				Expr          string            `json:"expr"`
				For           string            `json:"for,omitempty"`
				KeepFiringFor string            `json:"keep_firing_for,omitempty"`
				Labels        map[string]string `json:"labels,omitempty"`
				Annotations   map[string]string `json:"annotations,omitempty"`
			} `json:"rules"`
		} `json:"groups"`
	}
)

// kinds are those that a manifest here may be of, with a new value for each.
var kinds = map[string]func() metav1.Object{
	"v1/Namespace":                           func() metav1.Object { return new(corev1.Namespace) },
	"v1/ServiceAccount":                      func() metav1.Object { return new(corev1.ServiceAccount) },
	"v1/ConfigMap":                           func() metav1.Object { return new(corev1.ConfigMap) },
	"v1/Service":                             func() metav1.Object { return new(corev1.Service) },
	"v1/PersistentVolumeClaim":               func() metav1.Object { return new(corev1.PersistentVolumeClaim) },
	"apps/v1/StatefulSet":                    func() metav1.Object { return new(appsv1.StatefulSet) },
	"policy/v1/PodDisruptionBudget":          func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2/HorizontalPodAutoscaler": func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/NetworkPolicy":     func() metav1.Object { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() metav1.Object {
		return new(serviceMonitor)
	},
	"monitoring.coreos.com/v1/PrometheusRule": func() metav1.Object {
		return new(prometheusRule)
	},
	"cert-manager.io/v1/Certificate":        func() metav1.Object { return new(certificate) },
	"external-secrets.io/v1/ExternalSecret": func() metav1.Object { return new(externalSecret) },
}

// manifests is what one overlay renders to.
type manifests struct {
	name    string
	objects []metav1.Object
}

// all gives the objects of one kind.
func all[T metav1.Object](m *manifests) (list []T) {
	for _, o := range m.objects {
		if v, ok := o.(T); ok {
			list = append(list, v)
		}
	}
	return list
}

// named gives one object, and fails the test if it is not there.
func named[T metav1.Object](t *testing.T, m *manifests, name string) T {
	t.Helper()
	for _, o := range all[T](m) {
		if o.GetName() == name {
			return o
		}
	}
	t.Fatalf("%s has no %T named %s", m.name, *new(T), name)
	panic("unreachable")
}

// variant is an overlay of the folder, or one made here.
type variant struct {
	name string
	// kustomization takes the place of the file of that name.
	kustomization string
}

// variants are the overlays, and those that show the components no overlay uses.
func variants(t *testing.T) []variant {
	t.Helper()
	folders, err := os.ReadDir("overlays")
	if err != nil {
		t.Fatal(err)
	}
	var list []variant
	for _, f := range folders {
		list = append(list, variant{name: f.Name()})
	}
	return append(list, variant{name: "acceptance-by-proxy", kustomization: `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../acceptance]
components: [../../components/egress-proxy]
`}, variant{name: "production-on-openshift", kustomization: `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
components: [../../components/openshift]
`}, variant{name: "production-under-strict-policies", kustomization: `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
components: [../../components/strict-policies]
images:
  - {name: registry.example.be/ebox-gateway, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
  - {name: registry.example.be/redis, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
`})
}

// eachVariant runs a test for every variant.
func eachVariant(t *testing.T, test func(t *testing.T, m *manifests)) {
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) { test(t, render(t, v)) })
	}
}

// overlay renders one of the folder's.
func overlay(t *testing.T, name string) *manifests {
	t.Helper()
	return render(t, variant{name: name})
}

// render is "kubectl kustomize", decoded so strictly that neither an unknown field nor
// one given twice passes.
func render(t *testing.T, v variant) *manifests {
	t.Helper()
	files := filesys.MakeFsOnDisk()
	at := filepath.Join("overlays", v.name)
	if v.kustomization != "" {
		root := copyTree(t)
		at = filepath.Join(root, "overlays", v.name)
		write(t, filepath.Join(at, "kustomization.yaml"), v.kustomization)
	}
	options := krusty.MakeDefaultOptions()
	rendered, err := krusty.MakeKustomizer(options).Run(files, at)
	if err != nil {
		t.Fatalf("rendering %s: %v", v.name, err)
	}
	text, err := rendered.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
	return &manifests{name: v.name, objects: objects}
}

func decode(text []byte) ([]metav1.Object, error) {
	var objects []metav1.Object
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		key := kind.APIVersion + "/" + kind.Kind
		newObject, known := kinds[key]
		if !known {
			return nil, fmt.Errorf("the kind %s is not among %v", key, slices.Sorted(maps.Keys(kinds)))
		}
		object := newObject()
		if err := strictly(document, object); err != nil {
			return nil, fmt.Errorf("decoding a %s: %w", key, err)
		}
		objects = append(objects, object)
	}
}

// strictly decodes as the API server does with strict validation of fields: their
// case matters too.
func strictly(document []byte, object any) error {
	plain, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	mistakes, err := kjson.UnmarshalStrict(plain, object)
	return errors.Join(append(mistakes, err)...)
}

// copyTree copies the manifests, for a variant that is not in the folder.
func copyTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, part := range []string{"base", "overlays", "components"} {
		if err := os.CopyFS(filepath.Join(root, part), os.DirFS(part)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The decoder is what all other tests rest upon.
func TestDecodingIsStrict(t *testing.T) {
	for name, document := range map[string]string{
		"a field that does not exist": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: []}\n",
		"a field of the wrong case":   "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterip: None}\n",
		"a field given twice":         "apiVersion: v1\nkind: Service\nmetadata: {name: a, name: b}\n",
		"a kind that nobody checks":   "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
		"a version that is not served": "apiVersion: autoscaling/v2beta2\nkind: " +
			"HorizontalPodAutoscaler\nmetadata: {name: a}\n",
		"a mistake in a monitor's field": "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: " +
			"a}\nspec: {endpoint: []}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if objects, err := decode([]byte(document)); err == nil {
				t.Fatalf("taken as %+v", objects)
			}
		})
	}
}

// Every component is part of a variant, or nothing tests it.
func TestEveryComponentIsRendered(t *testing.T) {
	components, err := os.ReadDir("components")
	if err != nil {
		t.Fatal(err)
	}
	var used strings.Builder
	for _, v := range variants(t) {
		if v.kustomization != "" {
			used.WriteString(v.kustomization)
			continue
		}
		used.WriteString(read(t, filepath.Join("overlays", v.name, "kustomization.yaml")))
	}
	for _, c := range components {
		if !strings.Contains(used.String(), "components/"+c.Name()) {
			t.Errorf("no variant uses the component %s", c.Name())
		}
	}
}
