// Package deploy holds what a platform team puts beside the gateway: a scrape and alert
// rules for Prometheus, and a dashboard for Grafana. It has no code; its tests try the
// files with Prometheus's own checker and hold every expression against the metrics that
// there are.
package deploy
