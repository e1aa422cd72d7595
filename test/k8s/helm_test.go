package k8s_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"
	jsonschema "github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"ebox-gateway/internal/testkit"
)

// chartFiles is .Files of Helm, as far as the chart uses it.
type chartFiles struct{ t *testing.T }

func (f chartFiles) Get(name string) string {
	f.t.Helper()
	return testkit.Read(f.t, filepath.Join("helm", name))
}

// chartValues are the chart's own, with those of files and of the text of a configuration over them.
func chartValues(t *testing.T, config string, files ...string) map[string]any {
	t.Helper()
	values := make(map[string]any)
	for _, f := range append([]string{"helm/values.yaml"}, files...) {
		var more map[string]any
		if err := yaml.UnmarshalStrict([]byte(testkit.Read(t, f)), &more); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		values = over(values, more)
	}
	if config != "" {
		values["config"] = config
	}
	return values
}

// over merges values as Helm does: mappings are merged, everything else is replaced.
func over(base, more map[string]any) map[string]any {
	merged := maps.Clone(base)
	for k, v := range more {
		below, isMap := merged[k].(map[string]any)
		if above, ok := v.(map[string]any); ok && isMap {
			v = over(below, above)
		}
		merged[k] = v
	}
	return merged
}

// renderChart does with the chart what Helm's engine does: the same template language and
// functions (sprig), and those of Helm that the chart uses.
func renderChart(t *testing.T, values map[string]any) ([]metav1.Object, error) {
	t.Helper()
	var chart map[string]any
	testkit.Must(t, yaml.UnmarshalStrict([]byte(testkit.Read(t, "helm/Chart.yaml")), &chart))
	set := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = func(v any) (string, error) {
		text, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	functions["fromYaml"] = func(text string) (v map[string]any, err error) {
		return v, yaml.Unmarshal([]byte(text), &v)
	}
	functions["required"] = func(message string, v any) (any, error) {
		if v == nil || v == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return v, nil
	}
	functions["include"] = func(name string, data any) (string, error) {
		var b strings.Builder
		err := set.ExecuteTemplate(&b, name, data)
		return b.String(), err
	}
	set.Funcs(functions)
	templates, err := filepath.Glob("helm/templates/*")
	if err != nil || len(templates) < 4 {
		t.Fatalf("templates %v, %v", templates, err)
	}
	for _, path := range templates {
		if _, err := set.New(filepath.Base(path)).Parse(testkit.Read(t, path)); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string]any{
		"Values": values, "Files": chartFiles{t},
		"Chart":   map[string]any{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
		"Release": map[string]any{"Name": "ebox-gateway", "Namespace": "ebox", "Service": "Helm"},
	}
	var text bytes.Buffer
	for _, path := range templates {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		if err := set.ExecuteTemplate(&out, name, data); err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".yaml") {
			text.Write(out.Bytes())
		}
	}
	return decode(text.Bytes())
}

// plain is an object without what only one of Helm and kustomize adds: namespace, the
// labels of Helm, the hash in the name of a ConfigMap and the one that Helm's users write
// into an annotation instead.
func plain(t *testing.T, o metav1.Object) (key string, fields map[string]any) {
	t.Helper()
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	testkit.Must(t, err)
	meta := fields["metadata"].(map[string]any)
	delete(meta, "namespace")
	if labels, ok := meta["labels"].(map[string]any); ok {
		delete(labels, "helm.sh/chart")
		delete(labels, "app.kubernetes.io/managed-by")
		if len(labels) == 0 {
			delete(meta, "labels")
		}
	}
	if set, ok := o.(*appsv1.StatefulSet); ok && set.Name == "ebox-redis" {
		spec := fields["spec"].(map[string]any)["template"].(map[string]any)
		delete(spec["metadata"].(map[string]any), "annotations")
		for _, v := range spec["spec"].(map[string]any)["volumes"].([]any) {
			if c, ok := v.(map[string]any)["configMap"].(map[string]any); ok {
				c["name"] = "ebox-redis"
			}
		}
	}
	name := o.GetName()
	if strings.HasPrefix(name, "ebox-redis-") {
		if _, ok := o.(*corev1.ConfigMap); ok {
			name = "ebox-redis"
			meta["name"] = name
		}
	}
	return fmt.Sprintf("%T %s", o, name), fields
}

func plainly(t *testing.T, objects []metav1.Object) map[string]map[string]any {
	t.Helper()
	all := make(map[string]map[string]any)
	for _, o := range objects {
		if _, is := o.(*corev1.Namespace); is {
			continue // Helm makes it with --create-namespace
		}
		key, fields := plain(t, o)
		if all[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		all[key] = fields
	}
	return all
}

func TestTheChartIsTheKustomizeBase(t *testing.T) {
	for overlay, c := range map[string]struct {
		values []string
		more   map[string]any
	}{
		"simulation": {values: []string{"simulation"}},
		"acceptance": {values: []string{"acceptance"}},
		"production": {values: []string{"production"}},
		"acceptance-by-proxy": {
			values: []string{"acceptance"}, more: map[string]any{"proxy": map[string]any{"cidr": "192.0.2.0/28"}}},
		"production-on-openshift":          {values: []string{"production", "openshift"}},
		"production-under-strict-policies": {values: []string{"production", "strict-policies"}},
	} {
		t.Run(overlay, func(t *testing.T) {
			environment, _, _ := strings.Cut(overlay, "-")
			var files []string
			for _, v := range c.values {
				files = append(files, filepath.Join("helm/values", v+".yaml"))
			}
			config := testkit.Read(t, filepath.Join("overlays", environment, "config.yaml"))
			values := over(chartValues(t, config, files...), c.more)
			if err := schemaOfValues(t).Validate(values); err != nil {
				t.Errorf("the schema refuses the values: %v", err)
			}
			objects, err := renderChart(t, values)
			testkit.Must(t, err)
			if diff := cmp.Diff(plainly(t, render(t, overlay).objects), plainly(t, objects)); diff != "" {
				t.Errorf("the chart differs (- kustomize, + chart):\n%s", diff)
			}
			for _, o := range objects {
				if l := o.GetLabels(); l["app.kubernetes.io/managed-by"] != "Helm" || !strings.HasPrefix(l["helm.sh/chart"],
					"ebox-gateway-") {
					t.Errorf("%T %s has the labels %v", o, o.GetName(), l)
				}
			}
		})
	}
}

func TestTheChartSaysWhatIsMissing(t *testing.T) {
	for want, values := range map[string]map[string]any{
		"config is missing":     chartValues(t, ""),
		"redis.cidr is missing": over(chartValues(t, "a: b"), map[string]any{"redis": map[string]any{"mode": "own"}}),
	} {
		if _, err := renderChart(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestTheChartReachesARedisOfOnesOwn(t *testing.T) {
	objects, err := renderChart(t,
		over(chartValues(t, "a: b"),
			map[string]any{"redis": map[string]any{"mode": "own", "cidr": "10.1.2.0/28", "port": 6380}}))
	testkit.Must(t, err)
	m := &manifests{name: "chart", objects: objects}
	for _, s := range all[*appsv1.StatefulSet](m) {
		if s.Name == "ebox-redis" {
			t.Error("it comes with a Redis besides")
		}
	}
	c := container(t, m)
	if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "EBOX_REDIS_URL" }) {
		t.Error("the gateway is not told where Redis is")
	}
	fields := plainly(t, objects)["*v1.NetworkPolicy gateway-to-redis"]
	if text, _ := json.Marshal(fields); !bytes.Contains(text, []byte(`"cidr":"10.1.2.0/28"`)) ||
		!bytes.Contains(text, []byte(`"port":6380`)) {
		t.Errorf("the way to Redis is %s", text)
	}
}

func schemaOfValues(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(testkit.Read(t, "helm/values.schema.json")))
	testkit.Must(t, err)
	compiler := jsonschema.NewCompiler()
	testkit.Must(t, compiler.AddResource("values.schema.json", document))
	schema, err := compiler.Compile("values.schema.json")
	testkit.Must(t, err)
	return schema
}

func TestTheSchemaOfValuesFindsMistakes(t *testing.T) {
	schema := schemaOfValues(t)
	for name, more := range map[string]string{
		"a key that does not exist":      "replica: 3",
		"one below":                      "image: {name: a}",
		"a digest that is none":          "image: {digest: latest}",
		"a mode of Redis that is none":   "redis: {mode: sentinel}",
		"a network that is none":         "proxy: {cidr: proxy.example.be}",
		"less than one replica":          "replicas: 0",
		"fewer at most than at least":    "autoscaling: {maxReplicas: 1}",
		"a size that is none":            "storage: {size: big}",
		"a switch that is a text":        "openshift: \"yes\"",
		"a Secret without a name":        "clientSecret: \"\"",
		"own Redis that is not anywhere": "redis: {mode: own}",
	} {
		var values map[string]any
		testkit.Must(t, yaml.Unmarshal([]byte(more), &values))
		if err := schema.Validate(over(chartValues(t, "a: b"), values)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Whoever reads values.yaml sees everything that there is.
func TestTheSchemaHasTheKeysOfTheValues(t *testing.T) {
	var schema map[string]any
	testkit.Must(t, json.Unmarshal([]byte(testkit.Read(t, "helm/values.schema.json")), &schema))
	definitions := schema["$defs"].(map[string]any)
	var compare func(at string, schema, values map[string]any)
	compare = func(at string, schema, values map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return // free, as resources are
		}
		for k, p := range properties {
			v, there := values[k]
			if !there {
				t.Errorf("values.yaml lacks %s%s", at, k)
			}
			p := p.(map[string]any)
			if ref, ok := p["$ref"].(string); ok {
				p = definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
			}
			if below, ok := v.(map[string]any); ok {
				compare(at+k+".", p, below)
			}
		}
	}
	delete(schema["properties"].(map[string]any), "global") // Helm's own
	compare("", schema, chartValues(t, ""))
}

// The binary, the chart and the image have one version.
func TestTheChartHasTheVersionOfTheRelease(t *testing.T) {
	var chart struct{ Version, AppVersion string }
	testkit.Must(t, yaml.Unmarshal([]byte(testkit.Read(t, "helm/Chart.yaml")), &chart))
	if chart.Version != chart.AppVersion {
		t.Errorf("the chart %s installs the gateway %s", chart.Version, chart.AppVersion)
	}
	for _, overlay := range []string{"simulation", "acceptance", "production"} {
		if image := container(t, render(t, overlay)).Image; !strings.HasSuffix(image, ":"+chart.AppVersion) {
			t.Errorf("%s runs %s, the chart %s", overlay, image, chart.AppVersion)
		}
	}
}
