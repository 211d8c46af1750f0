{{/* What all names begin with: the release's name, short enough for what follows. */}}
{{- define "thumbnails.prefix" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Names of resources that have no namespace hold the release's. */}}
{{- define "thumbnails.clusterPrefix" -}}
{{- printf "%s-%s" .Release.Namespace (include "thumbnails.prefix" .) -}}
{{- end }}

{{/* Labels that select the pods of a component: (list $ "api"). */}}
{{- define "thumbnails.selectorLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: thumbnails
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "thumbnails.labels" -}}
{{- $ := index . 0 -}}
{{ include "thumbnails.selectorLabels" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The reference of a component's image: (list $ .Values.api.image). */}}
{{- define "thumbnails.image" -}}
{{- $ := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := printf "%s/%s" $.Values.image.registry $image.repository -}}
{{- if $image.digest -}}
{{- $name }}@{{ $image.digest }}
{{- else -}}
{{- $name }}:{{ $image.tag | default $.Values.image.tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "thumbnails.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The namespaces whose ThumbnailJobs are worked on, as JSON. */}}
{{- define "thumbnails.namespaces" -}}
{{- .Values.namespaces | default (list .Release.Namespace) | sortAlpha | uniq | toJson -}}
{{- end }}

{{/* What of the pods' security context is said: null takes a default away. */}}
{{- define "thumbnails.podSecurityContext" -}}
{{- $said := dict }}
{{- range $name, $value := .Values.podSecurityContext }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $said $name $value }}
{{- end }}
{{- end }}
{{- toYaml $said }}
{{- end }}

{{/* What the Pod Security Standard "restricted" asks of containers, and a root that is read-only. */}}
{{- define "thumbnails.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the pods of a component run, of what its values say: .Values.api. */}}
{{- define "thumbnails.scheduling" -}}
{{- $said := dict }}
{{- range $name := list "affinity" "nodeSelector" "priorityClassName" "tolerations" }}
{{- with index $ $name }}
{{- $_ := set $said $name . }}
{{- end }}
{{- end }}
{{- if $said }}
{{- toYaml $said }}
{{- end }}
{{- end }}

{{/* What the operator gives to workers' pods, as JSON. */}}
{{- define "thumbnails.workerPod" -}}
{{- $said := dict "securityContext" (include "thumbnails.podSecurityContext" . | fromYaml) }}
{{- range $name := list "affinity" "nodeSelector" "priorityClassName" "runtimeClassName" "tolerations" }}
{{- with index $.Values.worker $name }}
{{- $_ := set $said $name . }}
{{- end }}
{{- end }}
{{- with .Values.worker.podAnnotations }}
{{- $_ := set $said "annotations" . }}
{{- end }}
{{- toJson $said }}
{{- end }}

{{/* Replicas of a component on different nodes and zones, where there are some, unless its values say otherwise:
     (list $ "api"). */}}
{{- define "thumbnails.spread" -}}
{{- $scope := . -}}
{{- $said := index (index . 0).Values (index . 1) "topologySpreadConstraints" -}}
topologySpreadConstraints:
  {{- if $said }}
  {{- toYaml $said | nindent 2 }}
  {{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "thumbnails.selectorLabels" $scope | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
{{- end }}

{{/* The name of a component's ServiceAccount: (list $ "api"). */}}
{{- define "thumbnails.serviceAccount" -}}
{{- (index (index . 0).Values (index . 1)).serviceAccount.name | default (printf "%s-%s" (include "thumbnails.prefix" (index . 0)) (index . 1)) -}}
{{- end }}

{{/* A component's ServiceAccount: (list $ "api"). */}}
{{- define "thumbnails.ownServiceAccount" -}}
{{- $ := index . 0 -}}
{{- $values := (index $.Values (index . 1)).serviceAccount -}}
{{- if $values.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "thumbnails.serviceAccount" . }}
  namespace: {{ $.Release.Namespace }}
  labels: {{- include "thumbnails.labels" . | nindent 4 }}
  {{- with $values.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A component's PodDisruptionBudget: (list $ "api" pods). With a single pod it would only hold up drains. */}}
{{- define "thumbnails.podDisruptionBudget" -}}
{{- $ := index . 0 -}}
{{- $values := (index $.Values (index . 1)).podDisruptionBudget -}}
{{- if and $values.enabled (gt (int (index . 2)) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "thumbnails.prefix" $ }}-{{ index . 1 }}
  namespace: {{ $.Release.Namespace }}
  labels: {{- include "thumbnails.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $values.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "thumbnails.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Names of the service that it is known by in other namespaces, too. One dot is looked up soonest. */}}
{{- define "thumbnails.s3.endpoint" -}}
{{- if .Values.minio.enabled -}}
http://{{ include "thumbnails.prefix" . }}-minio.{{ .Release.Namespace }}:9000
{{- else -}}
{{- required "s3.endpoint: needed without the bundled MinIO" .Values.s3.endpoint -}}
{{- end }}
{{- end }}

{{- define "thumbnails.s3.secret" -}}
{{- if .Values.s3.existingSecret -}}
{{- .Values.s3.existingSecret -}}
{{- else if .Values.minio.enabled -}}
{{- include "thumbnails.prefix" . }}-s3
{{- else -}}
{{- fail "s3.existingSecret: needed without the bundled MinIO" -}}
{{- end }}
{{- end }}

{{/* The ConfigMap with the object store's authorities, and its entry; nothing when everybody's will do. */}}
{{- define "thumbnails.s3.ca" -}}
{{- if .Values.s3.ca.bundle -}}
{{- include "thumbnails.prefix" . }}-s3-ca/ca.crt
{{- else if .Values.s3.ca.existingConfigMap -}}
{{- .Values.s3.ca.existingConfigMap }}/{{ .Values.s3.ca.key -}}
{{- end }}
{{- end }}

{{- define "thumbnails.minio.secret" -}}
{{- .Values.minio.existingSecret | default (printf "%s-minio" (include "thumbnails.prefix" .)) -}}
{{- end }}

{{- define "thumbnails.apiKeys.secret" -}}
{{- .Values.apiKeys.existingSecret | default (printf "%s-api-keys" (include "thumbnails.prefix" .)) -}}
{{- end }}

{{- define "thumbnails.links.secret" -}}
{{- .Values.links.existingSecret | default (printf "%s-links" (include "thumbnails.prefix" .)) -}}
{{- end }}

{{/* The data of a Secret that the chart makes: what is there already, or else new: (list $ name new). Who renders
     without a cluster (GitOps) makes new ones each time, and the API server refuses to have them written over
     those that are there: they are immutable. Such people set existingSecret. */}}
{{- define "thumbnails.keptData" -}}
{{- $ := index . 0 -}}
{{- $there := lookup "v1" "Secret" $.Release.Namespace (index . 1) -}}
immutable: true
data:
{{- range $entry, $new := index . 2 }}
  {{ $entry }}: {{ index ($there.data | default dict) $entry | default ($new | b64enc) }}
{{- end }}
{{- end }}

{{/* A setting's variable: maxUploadBytes is THUMBNAILS_MAX_UPLOAD_BYTES. */}}
{{- define "thumbnails.variable" -}}
THUMBNAILS_{{ regexReplaceAll "([A-Z])" . "_${1}" | upper }}
{{- end }}

{{/* A number as it was written: YAML makes 134217728 a float, whose text would be 1.34217728e+08. JSON of a map. */}}
{{- define "thumbnails.text" -}}
{{- if kindIs "map" . -}}
{{- toJson . -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end }}
{{- end }}

{{/* What API and operator both have in their containers. */}}
{{- define "thumbnails.commonContainer" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "thumbnails.securityContext" . | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "thumbnails.prefix" . }}-settings
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: s3-keys
    mountPath: /var/run/secrets/thumbnails.dev/s3
    readOnly: true
  {{- if include "thumbnails.s3.ca" . }}
  - name: s3-ca
    mountPath: /var/run/secrets/thumbnails.dev/s3-ca
    readOnly: true
  {{- end }}
{{- end }}

{{- define "thumbnails.s3KeysVolume" -}}
- name: s3-keys
  secret:
    secretName: {{ include "thumbnails.s3.secret" . }}
    defaultMode: 0440
    items:
      - {key: accessKey, path: access-key}
      - {key: secretKey, path: secret-key}
{{- end }}

{{/* The object store's keys and authorities, which API and operator mount. */}}
{{- define "thumbnails.s3Volumes" -}}
{{ include "thumbnails.s3KeysVolume" . }}
{{- with include "thumbnails.s3.ca" . }}
- name: s3-ca
  configMap:
    name: {{ splitList "/" . | first }}
    items:
      - {key: {{ splitList "/" . | last }}, path: ca.crt}
{{- end }}
{{- end }}

{{- define "thumbnails.settingsChecksum" -}}
checksum/settings: {{ include (print .Template.BasePath "/settings/configmap.yaml") . | sha256sum }}
{{- end }}

{{/* Rules of NetworkPolicies. */}}
{{- define "thumbnails.egress.dns" -}}
- to: {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- define "thumbnails.egress.s3" -}}
{{- if .Values.minio.enabled -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Release.Namespace }}
      podSelector:
        matchLabels: {{- include "thumbnails.selectorLabels" (list . "minio") | nindent 10 }}
  ports:
    - {protocol: TCP, port: 9000}
{{- else -}}
{{- $url := urlParse (include "thumbnails.s3.endpoint" .) -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "https" | ternary 443 80) -}}
- to:
    {{- if .Values.networkPolicy.s3To }}
    {{- toYaml .Values.networkPolicy.s3To | nindent 4 }}
    {{- else }}
    # Link-local addresses are where clouds hand out the credentials of their machines.
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::/32"]}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ $port }}}
{{- end }}
{{- end }}

{{/* Binds a Role to a component's ServiceAccount: (list $ "api" role namespace). */}}
{{- define "thumbnails.roleBinding" -}}
{{- $ := index . 0 -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ index . 2 }}
  namespace: {{ index . 3 }}
  labels: {{- include "thumbnails.labels" (list $ (index . 1)) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ index . 2 }}
subjects:
  - kind: ServiceAccount
    name: {{ include "thumbnails.serviceAccount" (list $ (index . 1)) }}
    namespace: {{ $.Release.Namespace }}
{{- end }}

{{/* Workers, wherever they are. The operator gives each its label. */}}
{{- define "thumbnails.peers.workers" -}}
- namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ include "thumbnails.namespaces" . }}
  podSelector:
    matchExpressions:
      - {key: thumbnails.dev/worker, operator: Exists}
{{- end }}
