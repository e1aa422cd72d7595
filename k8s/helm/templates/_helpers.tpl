{{- /* image: repository, and the digest or else the tag. Takes image and default. */}}
{{- define "image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .default }}{{ end }}
{{- end }}

{{- /* emit: one manifest, with the labels that Helm's users expect. Takes root and manifest. */}}
{{- define "emit" }}
{{- $labels := dict "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set .manifest.metadata "labels" (merge $labels (get .manifest.metadata "labels" | default dict)) }}
---
{{ toYaml .manifest }}
{{- end }}

{{- /* file: every manifest of a file of the kustomize base or of a component, as it is. Takes root and path. */}}
{{- define "file" }}
{{- $root := .root }}
{{- range splitList "\n---\n" ($root.Files.Get .path) }}
{{- include "emit" (dict "root" $root "manifest" (fromYaml .)) }}
{{- end }}
{{- end }}

{{- /* anyUser: no fixed users and groups in a pod. */}}
{{- define "anyUser" }}
{{- range list "runAsUser" "runAsGroup" "fsGroup" }}{{ $_ := unset $.securityContext . }}{{ end }}
{{- end }}

{{- /* mount: a volume in pod and container. Takes pod, container, name, path and volume. */}}
{{- define "mount" }}
{{- $_ := set .container "volumeMounts" (append .container.volumeMounts (dict "name" .name "mountPath" .path "readOnly" true)) }}
{{- $_ := set .pod "volumes" (append .pod.volumes (merge (dict "name" .name) .volume)) }}
{{- end }}

{{- /* secret: a volume of some keys of a Secret, readable by the pod's group. Takes secret and keys. */}}
{{- define "secret" }}
{{- $items := list }}
{{- range .keys }}{{ $items = append $items (dict "key" . "path" .) }}{{ end }}
{{- toYaml (dict "secret" (dict "secretName" .secret "defaultMode" 0440 "items" $items)) }}
{{- end }}
