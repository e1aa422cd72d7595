package k8s_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"software.sslmate.com/src/go-pkcs12"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/testkit"
)

// pod is the gateway's container as the kubelet would start it, in a folder in place
// of the root.
type pod struct {
	root string
	// environment is what the manifests put there.
	environment map[string]string
	// config is what the container is told to read. Its absolute paths lead into the folder.
	config *config.Config
}

// podOf gives the gateway's pod of a variant: everything is mounted that the manifests mount.
// What is in Secrets and on volumes is made here.
func podOf(t *testing.T, m *manifests) *pod {
	t.Helper()
	if m.pod != nil {
		return m.pod
	}
	root, err := os.MkdirTemp("", "pod-") // until TestMain removes it
	testkit.Must(t, err)
	m.pod = &pod{root: root, environment: make(map[string]string)}
	m.pod.mount(t, m)
	m.pod.load(t, m)
	return m.pod
}

func configuration(t *testing.T, m *manifests) *config.Config {
	t.Helper()
	return podOf(t, m).config
}

func (p *pod) mount(t *testing.T, m *manifests) {
	t.Helper()
	set := named[*appsv1.StatefulSet](t, m, "ebox-gateway")
	c := container(t, m)
	volumes := make(map[string]corev1.Volume)
	for _, v := range set.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, claim := range set.Spec.VolumeClaimTemplates {
		volumes[claim.Name] = corev1.Volume{Name: claim.Name}
	}
	for _, mount := range c.VolumeMounts {
		v, there := volumes[mount.Name]
		if !there {
			t.Errorf("the mount %s has no volume", mount.Name)
		}
		delete(volumes, mount.Name)
		if mount.SubPath != "" || mount.SubPathExpr != "" {
			t.Errorf("%s mounts a part of a volume, which is never updated", mount.Name)
		}
		folder := filepath.Join(p.root, mount.MountPath)
		testkit.Must(t, os.MkdirAll(folder, 0o700))
		if writable := v.VolumeSource == (corev1.VolumeSource{}); writable == mount.ReadOnly {
			t.Errorf("%s: read-only is %t", mount.Name, mount.ReadOnly)
		}
		switch {
		case v.ConfigMap != nil:
			for name, content := range named[*corev1.ConfigMap](t, m, v.ConfigMap.Name).Data {
				write(t, filepath.Join(folder, name), content)
			}
		case v.Secret != nil:
			for _, item := range v.Secret.Items { // all of them, or a Secret's unknown keys would be files too
				write(t, filepath.Join(folder, item.Path), secret(t, v.Secret.SecretName, item.Key))
			}
		case v.PersistentVolumeClaim != nil:
			named[*corev1.PersistentVolumeClaim](t, m, v.PersistentVolumeClaim.ClaimName)
			write(t, filepath.Join(folder, "enterprises.csv"), "number,name\n0206731645,Example\n")
			write(t, filepath.Join(folder, "stop.txt"), "# nobody\n")
		}
	}
	for name := range volumes {
		t.Errorf("nobody mounts the volume %s", name)
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
			t.Errorf("the variable %s does not come from a Secret", e.Name)
			continue
		}
		p.environment[e.Name] = secret(t, e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
	}
}

func (p *pod) load(t *testing.T, m *manifests) {
	t.Helper()
	args := container(t, m).Args
	i := slices.Index(args, "--config")
	if i < 0 || args[0] != "serve" {
		t.Fatalf("the container is started with %v", args)
	}
	at := filepath.Join(p.root, args[i+1])
	text := testkit.Read(t, at)
	for _, folder := range []string{"/etc/", "/var/lib/"} {
		text = strings.ReplaceAll(text, folder, p.root+folder)
	}
	write(t, at, text)
	used := make(map[string]bool)
	var err error
	p.config, err = config.Load(at, func(name string) (string, bool) {
		value, ok := p.environment[name]
		used[name] = true
		return value, ok
	})
	if err != nil {
		t.Fatalf("the configuration of %s:\n%v", m.name, err)
	}
	for name := range p.environment {
		if !used[name] {
			t.Errorf("the configuration does not use the variable %s", name)
		}
	}
}

// secret makes what docs/kubernetes.md has people put into a Secret. One that is not
// in its table is a Secret that nobody would know to create.
func secret(t *testing.T, name, key string) string {
	t.Helper()
	documented := false
	for line := range strings.Lines(testkit.Read(t, "../docs/kubernetes.md")) {
		documented = documented || strings.HasPrefix(line, "| `"+name+"` ") && strings.Contains(line, "`"+key+"`")
	}
	if !documented {
		t.Errorf("docs/kubernetes.md does not say what goes into %s of the Secret %s", key, name)
	}
	made := pair(t)
	certificate, private := made.PEM()
	switch key {
	case "client-id":
		return "an:office"
	case "client.p12":
		store, err := pkcs12.Modern.Encode(made.Key, made.Certificate, nil, "a password")
		testkit.Must(t, err)
		return string(store)
	case "client.p12.password":
		return "a password\n"
	case "url":
		return "redis://gateway:a-password@ebox-redis:6379/0"
	case "k1.key":
		return "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	case "tls.key":
		return string(private)
	case "signing.pem":
		_, signing, err := ed25519.GenerateKey(rand.Reader)
		testkit.Must(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(signing)
		testkit.Must(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	case "tls.crt", "ca.crt":
		return string(certificate)
	}
	t.Fatalf("this test cannot make %s of %s", key, name)
	return ""
}

var onePair *testkit.Certificate

// pair gives the one key and certificate of all tests.
func pair(t *testing.T) *testkit.Certificate {
	t.Helper()
	if onePair == nil {
		onePair = testkit.NewCertificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(1, 0, 0) })
	}
	return onePair
}

// everyListenerRuns has a check not mind what uses the addresses of this machine.
func everyListenerRuns(config.Listener) bool { return true }

// What "gateway check" does: the file is read, the gateway built, the keys tried.
func TestTheGatewayTakesTheConfiguration(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		cfg := configuration(t, m)
		if _, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		for _, c := range preflight.Offline(cfg, time.Now(), everyListenerRuns) {
			if c.Result == preflight.Failed {
				t.Errorf("%s: %s", c.Part, c.Detail)
			}
		}
		if want, _, _ := strings.Cut(m.name, "-"); string(cfg.Environment) != want {
			t.Errorf("%s has the environment %s", m.name, cfg.Environment)
		}
	})
}

func TestEveryFileOfTheConfigurationIsMounted(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		p := podOf(t, m)
		files := p.config.Files()
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				t.Errorf("%s is in no volume", strings.TrimPrefix(f, p.root))
			}
		}
		// And the other way: what is mounted of Secrets is used.
		for _, v := range named[*appsv1.StatefulSet](t, m, "ebox-gateway").Spec.Template.Spec.Volumes {
			if v.Secret == nil {
				continue
			}
			for _, item := range v.Secret.Items {
				if !slices.ContainsFunc(files, func(f string) bool { return path.Base(f) == item.Path }) {
					t.Errorf("%s of the Secret %s is mounted and not used", item.Path, v.Secret.SecretName)
				}
			}
		}
	})
}

func TestPortsAreTheListenersOfTheConfiguration(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		cfg := configuration(t, m)
		if len(cfg.Admin.Listen) != 1 {
			t.Fatalf("%d admin listeners", len(cfg.Admin.Listen))
		}
		listeners := map[string]string{"admin": cfg.Admin.Listen[0].Address}
		for _, l := range cfg.Server.Listen {
			listeners[l.Name] = l.Address
		}
		ports := make(map[string]string) // on any address of the pod, or nobody outside would reach them
		for _, p := range container(t, m).Ports {
			ports[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
		}
		if diff := cmp.Diff(listeners, ports); diff != "" {
			t.Errorf("the container's ports differ (- configuration, + container):\n%s", diff)
		}
		for name := range listeners {
			served := servicePort(named[*corev1.Service](t, m, "ebox-gateway"), name)
			if served != (name != "admin") {
				t.Errorf("the callers' service has the listener %s: %t", name, served)
			}
		}
	})
}

// Source addresses mean little in a cluster: they are those of nodes, proxies and of
// pods that are gone tomorrow.
func TestCallersAreToldApartWithoutAddresses(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		cfg := configuration(t, m)
		served := make(map[string]bool)
		for _, c := range cfg.Callers {
			if len(c.Networks) > 0 || len(c.Listeners) == 0 {
				t.Errorf("the caller %s is recognised by %v and %v", c.Name, c.Networks, c.Listeners)
			}
			for _, l := range c.Listeners {
				served[l] = true
			}
		}
		for _, l := range cfg.Server.Listen {
			if l.Open || !served[l.Name] {
				t.Errorf("the listener %s: open %t, with callers %t", l.Name, l.Open, served[l.Name])
			}
		}
	})
}

// A name of the Service that the gateway does not know is 421 to whoever uses it.
func TestTheNamesOfItsServiceAreTaken(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		service := named[*corev1.Service](t, m, "ebox-gateway")
		long := service.Name + "." + service.Namespace
		names := []string{service.Name, long, long + ".svc", long + ".svc.cluster.local"}
		if diff := cmp.Diff(names, configuration(t, m).Server.AllowedHosts); diff != "" {
			t.Errorf("server.allowedHosts differs (- names of the service, + allowedHosts):\n%s", diff)
		}
	})
}

// Evidence in the image or in memory would be gone with the pod, and two replicas in
// one folder would write one chain.
func TestEvidenceIsOnTheVolumeOfItsReplica(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		p := podOf(t, m)
		dir := strings.TrimPrefix(p.config.Audit.Dir, p.root)
		claims := make(map[string]bool)
		for _, c := range named[*appsv1.StatefulSet](t, m, "ebox-gateway").Spec.VolumeClaimTemplates {
			claims[c.Name] = true
		}
		for _, mount := range container(t, m).VolumeMounts {
			if claims[mount.Name] && strings.HasPrefix(dir, mount.MountPath+"/") {
				return
			}
		}
		t.Errorf("the evidence is in %q, on no volume of the replica's own", dir)
	})
}

// What one replica has written reaches the others through Redis alone.
func TestSeveralReplicasShareARedis(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		cfg := configuration(t, m)
		set := named[*appsv1.StatefulSet](t, m, "ebox-gateway")
		several := set.Spec.Replicas == nil || *set.Spec.Replicas > 1
		if shared := cfg.Redis.URL != ""; several != shared {
			t.Errorf("several replicas: %t, Redis: %t", several, shared)
		}
		if several && len(cfg.Redis.EncryptionKeys) == 0 {
			t.Error("Redis without a key shares neither tokens nor answers")
		}
	})
}

// The name of the ConfigMap stays, so that a change reaches gateways that run; that
// of Redis, which reads its file once, does not.
func TestAChangeOfTheConfigurationIsNoRestart(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		for _, c := range all[*corev1.ConfigMap](m) {
			switch {
			case c.Name == "ebox-gateway":
				if c.Immutable != nil && *c.Immutable {
					t.Error("the configuration can never change")
				}
			case !strings.HasPrefix(c.Name, "ebox-redis-"):
				t.Errorf("who is %s for?", c.Name)
			}
		}
		named[*corev1.ConfigMap](t, m, "ebox-gateway")
	})
}
