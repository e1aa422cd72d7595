package k8s_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// selects reports whether a selector is for an object with these labels.
func selects(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatalf("reading the selector %v: %v", selector, err)
	}
	return s.Matches(labels.Set(of))
}

func TestEverythingIsInTheNamespaceOfItsOverlay(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		namespaces := all[*corev1.Namespace](m)
		if len(namespaces) != 1 {
			t.Fatalf("%d namespaces", len(namespaces))
		}
		ns := namespaces[0]
		for _, mode := range []string{"enforce", "audit", "warn"} {
			if got := ns.Labels["pod-security.kubernetes.io/"+mode]; got != "restricted" {
				t.Errorf("pod security is %q for %s", got, mode)
			}
		}
		seen := make(map[string]bool)
		for _, o := range m.objects {
			if _, is := o.(*corev1.Namespace); !is && o.GetNamespace() != ns.Name {
				t.Errorf("%T %s is in the namespace %q", o, o.GetName(), o.GetNamespace())
			}
			if key := fmt.Sprintf("%T %s", o, o.GetName()); seen[key] {
				t.Errorf("%s is there twice", key)
			} else {
				seen[key] = true
			}
		}
	})
}

func TestSelectorsFindTheirPods(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		sets := all[*appsv1.StatefulSet](m)
		// one reports whether a selector finds the pods of exactly one set, and which.
		one := func(what string, selector *metav1.LabelSelector) *appsv1.StatefulSet {
			t.Helper()
			var found *appsv1.StatefulSet
			for _, s := range sets {
				if !selects(t, selector, s.Spec.Template.Labels) {
					continue
				}
				if found != nil {
					t.Errorf("%s finds the pods of %s and of %s", what, found.Name, s.Name)
				}
				found = s
			}
			if found == nil {
				t.Fatalf("%s finds nobody's pods", what)
			}
			return found
		}
		for _, s := range sets {
			if one("the StatefulSet "+s.Name, s.Spec.Selector) != s {
				t.Errorf("the StatefulSet %s does not find its own pods", s.Name)
			}
			governing := named[*corev1.Service](t, m, s.Spec.ServiceName)
			if governing.Spec.ClusterIP != corev1.ClusterIPNone {
				t.Errorf("the service %s of the StatefulSet %s is not headless", governing.Name, s.Name)
			}
			for _, c := range s.Spec.Template.Spec.TopologySpreadConstraints {
				if one("a spread of "+s.Name, c.LabelSelector) != s {
					t.Errorf("%s spreads somebody else's pods", s.Name)
				}
			}
		}
		for _, s := range all[*corev1.Service](m) {
			set := one("the service "+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
			for _, p := range s.Spec.Ports {
				if !hasPort(set, p.TargetPort.StrVal) {
					t.Errorf("port %s of the service %s leads to %q, which %s does not have", p.Name, s.Name,
						p.TargetPort.String(), set.Name)
				}
			}
		}
		for _, b := range all[*policyv1.PodDisruptionBudget](m) {
			one("the budget "+b.Name, b.Spec.Selector)
		}
		for _, p := range all[*networkingv1.NetworkPolicy](m) {
			if len(p.Spec.PodSelector.MatchLabels) > 0 {
				one("the policy "+p.Name, &p.Spec.PodSelector)
			}
		}
		for _, a := range all[*autoscalingv2.HorizontalPodAutoscaler](m) {
			set := named[*appsv1.StatefulSet](t, m, a.Spec.ScaleTargetRef.Name)
			if set.Kind != a.Spec.ScaleTargetRef.Kind || set.APIVersion != a.Spec.ScaleTargetRef.APIVersion {
				t.Errorf("the autoscaler is for a %s of %s", a.Spec.ScaleTargetRef.Kind, a.Spec.ScaleTargetRef.APIVersion)
			}
			if set.Spec.Replicas != nil {
				t.Error("the StatefulSet says a number of replicas, which each apply would set the autoscaler's back to")
			}
			if *a.Spec.MinReplicas < 3 || a.Spec.MaxReplicas <= *a.Spec.MinReplicas {
				t.Errorf("%d to %d replicas", *a.Spec.MinReplicas, a.Spec.MaxReplicas)
			}
		}
		for _, sm := range all[*serviceMonitor](m) {
			for _, e := range sm.Spec.Endpoints {
				found := 0
				for _, s := range all[*corev1.Service](m) {
					if selects(t, &sm.Spec.Selector, s.Labels) && servicePort(s, e.Port) {
						found++
					}
				}
				if found != 1 {
					t.Errorf("the monitor's port %s is that of %d services, so a replica is scraped that often", e.Port, found)
				}
			}
		}
	})
}

func hasPort(s *appsv1.StatefulSet, name string) bool {
	return slices.ContainsFunc(s.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
	})
}

func servicePort(s *corev1.Service, name string) bool {
	return slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == name })
}

// What pod security "restricted" asks of a pod, and more. The SCC restricted-v2 of OpenShift asks the same: there the
// namespace's range decides on users and groups, and the SCC fills in all three.
func TestPodsHaveNothingLeftToDrop(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		for _, s := range all[*appsv1.StatefulSet](m) {
			pod := s.Spec.Template.Spec
			p := pod.SecurityContext
			fixed := p.RunAsUser != nil && *p.RunAsUser != 0 && p.RunAsGroup != nil && *p.RunAsGroup != 0 && p.FSGroup != nil
			free := p.RunAsUser == nil && p.RunAsGroup == nil && p.FSGroup == nil
			if onOpenShift := m.name == "production-on-openshift"; onOpenShift && !free || !onOpenShift && !fixed {
				t.Errorf("%s has the users and groups %v %v %v", s.Name, p.RunAsUser, p.RunAsGroup, p.FSGroup)
			}
			shared := corev1.PodSpec{HostNetwork: pod.HostNetwork, HostPID: pod.HostPID, HostIPC: pod.HostIPC,
				ShareProcessNamespace: pod.ShareProcessNamespace, EnableServiceLinks: pod.EnableServiceLinks,
				AutomountServiceAccountToken: pod.AutomountServiceAccountToken, SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: p.RunAsNonRoot, SeccompProfile: p.SeccompProfile, Sysctls: p.Sysctls}}
			nothing := corev1.PodSpec{EnableServiceLinks: new(false), AutomountServiceAccountToken: new(false),
				SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true),
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}}
			if diff := cmp.Diff(nothing, shared); diff != "" {
				t.Errorf("%s shares with the node or the cluster (- what it should, + what it does):\n%s", s.Name, diff)
			}
			for _, v := range pod.Volumes {
				if v.ConfigMap == nil && v.Secret == nil && v.PersistentVolumeClaim == nil {
					t.Errorf("the volume %s of %s is of another kind: %+v", v.Name, s.Name, v.VolumeSource)
				}
				if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o440) {
					t.Errorf("the secret %s of %s is readable by others, or not by its own group", v.Name, s.Name)
				}
			}
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				locked := &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), Privileged: new(false),
					ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
				if diff := cmp.Diff(locked, c.SecurityContext); diff != "" {
					t.Errorf("%s/%s may more than it should (- what it should, + what it does):\n%s", s.Name, c.Name, diff)
				}
				for _, port := range c.Ports {
					if port.HostPort != 0 {
						t.Errorf("%s/%s takes a port of the node", s.Name, c.Name)
					}
				}
			}
		}
		for _, a := range all[*corev1.ServiceAccount](m) {
			if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
				t.Errorf("the service account %s gives out tokens", a.Name)
			}
		}
	})
}

// An image is one that a person chose, and no container takes what it finds. Strict policies of admission ask for a
// digest, and for a bound of everything.
func TestContainersHaveAnImageAndBounds(t *testing.T) {
	named := regexp.MustCompile(`^[^:@]+(:[0-9][^:@]*(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$`)
	byDigest := regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	const cpu, memory, disk = corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage
	eachVariant(t, func(t *testing.T, m *manifests) {
		image, requests, limits := named, []corev1.ResourceName{cpu, memory}, []corev1.ResourceName{memory}
		if m.name == "production-under-strict-policies" {
			image, requests, limits = byDigest, append(requests, disk), []corev1.ResourceName{cpu, memory, disk}
		}
		for _, s := range all[*appsv1.StatefulSet](m) {
			for _, c := range s.Spec.Template.Spec.Containers {
				if !image.MatchString(c.Image) {
					t.Errorf("%s/%s runs %q: which one is that?", s.Name, c.Name, c.Image)
				}
				has := func(what string, list corev1.ResourceList, names []corev1.ResourceName) {
					for _, name := range names {
						if q := list[name]; q.IsZero() {
							t.Errorf("%s/%s has no %s in its %s", s.Name, c.Name, name, what)
						}
					}
				}
				has("requests", c.Resources.Requests, requests)
				has("limits", c.Resources.Limits, limits)
			}
		}
	})
}

func TestReplicasStandApartAndLeaveOneByOne(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		gateway := named[*appsv1.StatefulSet](t, m, "ebox-gateway")
		if r := gateway.Spec.Replicas; r != nil && *r != 3 && m.name != "simulation" {
			t.Errorf("%d replicas", *r)
		}
		if gateway.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
			t.Error("replicas wait for one another")
		}
		spread := make(map[string]corev1.UnsatisfiableConstraintAction)
		for _, c := range gateway.Spec.Template.Spec.TopologySpreadConstraints {
			spread[c.TopologyKey] = c.WhenUnsatisfiable
		}
		if spread["kubernetes.io/hostname"] != corev1.DoNotSchedule ||
			spread["topology.kubernetes.io/zone"] != corev1.ScheduleAnyway {
			t.Errorf("spread over %v", spread)
		}
		budget := named[*policyv1.PodDisruptionBudget](t, m, "ebox-gateway")
		if budget.Spec.MaxUnavailable == nil || budget.Spec.MaxUnavailable.IntValue() != 1 {
			t.Error("a drain of nodes may take several replicas at once")
		}
	})
}

// Evidence is kept by law.
func TestEvidenceOutlivesItsPod(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		gateway := named[*appsv1.StatefulSet](t, m, "ebox-gateway")
		const retain = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
		always := appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: retain, WhenScaled: retain}
		if keep := gateway.Spec.PersistentVolumeClaimRetentionPolicy; keep == nil || *keep != always {
			t.Errorf("volumes are kept %v", keep)
		}
		for _, claim := range gateway.Spec.VolumeClaimTemplates {
			if len(claim.Spec.AccessModes) != 1 || claim.Spec.AccessModes[0] != corev1.ReadWriteOnce {
				t.Errorf("the volume %s may be written by several: %v", claim.Name, claim.Spec.AccessModes)
			}
		}
	})
}

func TestProbesAskTheAdminListener(t *testing.T) {
	eachVariant(t, func(t *testing.T, m *manifests) {
		c := container(t, m)
		for path, probe := range map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/readyz": c.ReadinessProbe,
			"/livez": c.LivenessProbe} {
			// A Host of its own would be 421: the kubelet says the pod's address.
			want := &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("admin")}
			if probe == nil || !cmp.Equal(want, probe.HTTPGet) {
				t.Errorf("the probe that should ask %s is %+v", path, probe)
			}
		}
		// The endpoint is gone before connections are asked to close.
		ready, delay := c.ReadinessProbe, configuration(t, m).Server.Drain.Delay
		if unready := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second; unready > delay {
			t.Errorf("a replica that stops is seen to be not ready after %s, and takes no request after %s", unready, delay)
		}
	})
}

// The kubelet must not kill what still drains.
func TestTheGracePeriodCoversTheDrain(t *testing.T) {
	const margin = 10 * time.Second
	eachVariant(t, func(t *testing.T, m *manifests) {
		pod := named[*appsv1.StatefulSet](t, m, "ebox-gateway").Spec.Template.Spec
		grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
		stop := pod.Containers[0].Lifecycle.PreStop
		if stop.Exec != nil || stop.HTTPGet != nil || stop.Sleep == nil {
			t.Fatalf("before the stop: %+v; the image has nothing to run", stop)
		}
		drain := configuration(t, m).Server.Drain
		needed := time.Duration(stop.Sleep.Seconds)*time.Second + drain.Delay + drain.Timeout + margin
		if grace < needed {
			t.Errorf("killed after %s, while preStop, drain.delay, drain.timeout and a margin take %s", grace, needed)
		}
	})
}

// container is the gateway's.
func container(t *testing.T, m *manifests) corev1.Container {
	t.Helper()
	containers := named[*appsv1.StatefulSet](t, m, "ebox-gateway").Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("%d containers", len(containers))
	}
	return containers[0]
}
