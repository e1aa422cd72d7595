package k8s_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

	"ebox-gateway/internal/testkit"
)

// The tests run beside the manifests.
func TestMain(m *testing.M) {
	if err := os.Chdir("../../k8s"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, m := range rendered {
		if m.pod != nil {
			_ = os.RemoveAll(m.pod.root)
		}
	}
	os.Exit(code)
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

// manifests is what one variant renders to. Tests share it and change nothing in it.
type manifests struct {
	name    string
	objects []metav1.Object
	// pod is made when it is first asked for.
	pod *pod
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

// composed are variants that show the components no overlay uses, by what would be in the
// kustomization.yaml of each.
var composed = map[string]string{
	"acceptance-by-proxy": `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../acceptance]
components: [../../components/egress-proxy]
`,
	"production-on-openshift": `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
components: [../../components/openshift]
`,
	"production-under-strict-policies": `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
components: [../../components/strict-policies]
images:
  - name: registry.example.be/ebox-gateway
    digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  - name: registry.example.be/redis
    digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"
`,
}

// eachVariant runs a test for every overlay of the folder, and for those composed here.
func eachVariant(t *testing.T, test func(t *testing.T, m *manifests)) {
	folders, err := os.ReadDir("overlays")
	testkit.Must(t, err)
	names := slices.Sorted(maps.Keys(composed))
	for _, f := range folders {
		names = append(names, f.Name())
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { test(t, render(t, name)) })
	}
}

// rendered are the variants that were rendered so far: rendering one takes most of a second.
var rendered = make(map[string]*manifests)

// render is "kubectl kustomize", decoded so strictly that neither an unknown field nor
// one given twice passes.
func render(t *testing.T, name string) *manifests {
	t.Helper()
	if m := rendered[name]; m != nil {
		return m
	}
	files := filesys.MakeFsInMemory()
	for _, part := range []string{"base", "overlays", "components"} {
		if err := filepath.WalkDir(part, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			return files.WriteFile(path, []byte(testkit.Read(t, path)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join("overlays", name)
	if text, here := composed[name]; here {
		testkit.Must(t, files.WriteFile(filepath.Join(at, "kustomization.yaml"), []byte(text)))
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, at)
	if err != nil {
		t.Fatalf("rendering %s: %v", name, err)
	}
	text, err := resources.AsYaml()
	testkit.Must(t, err)
	objects, err := decode(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	rendered[name] = &manifests{name: name, objects: objects}
	return rendered[name]
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

func write(t *testing.T, path, content string) {
	t.Helper()
	testkit.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testkit.Write(t, path, content)
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
	testkit.Must(t, err)
	used := strings.Join(slices.Collect(maps.Values(composed)), "")
	overlays, err := filepath.Glob("overlays/*/kustomization.yaml")
	testkit.Must(t, err)
	for _, path := range overlays {
		used += testkit.Read(t, path)
	}
	for _, c := range components {
		if !strings.Contains(used, "components/"+c.Name()) {
			t.Errorf("no variant uses the component %s", c.Name())
		}
	}
}
