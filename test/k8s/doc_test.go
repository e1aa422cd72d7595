// Package k8s_test checks the manifests of the folder k8s. It is a module of its own: the
// types of the Kubernetes API and kustomize are no part of the product.
//
// base is what every environment has in common, overlays are the environments, and
// components are what some of them take besides: Redis, alerts, an autoscaler, a
// listener for client certificates, a volume of enterprises, a proxy as the only way
// out. The tests render each with kustomize's own library, decode every document
// strictly into the API's types, and hold the parts against one another: selectors
// against labels, ports against listeners, mounts against the files that the
// configuration names, the time to stop against the time that a drain takes. No
// cluster and no container engine is needed.
package k8s_test
