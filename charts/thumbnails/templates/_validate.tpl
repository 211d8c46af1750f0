{{/* What a schema cannot say: values that do not go together. Each refusal names the values and what to do. */}}
{{- define "thumbnails.validate" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if and .minio.enabled .s3.endpoint -}}
{{- $wrong = append $wrong "s3.endpoint: is another object store, so minio.enabled must be false" -}}
{{- end -}}
{{- if and .s3.ca.bundle .s3.ca.existingConfigMap -}}
{{- $wrong = append $wrong "s3.ca: set bundle or existingConfigMap, not both" -}}
{{- end -}}
{{- if and (or .s3.ca.bundle .s3.ca.existingConfigMap) (not (hasPrefix "https://" .s3.endpoint)) -}}
{{- $wrong = append $wrong "s3.ca: only the certificate of an https s3.endpoint is verified" -}}
{{- end -}}
{{- if and .webhook.url .webhook.existingSecret -}}
{{- $wrong = append $wrong "webhook: set url or existingSecret, not both" -}}
{{- end -}}
{{- if and .api.ingress.enabled (not .api.ingress.hosts) -}}
{{- $wrong = append $wrong "api.ingress.hosts: name at least one host" -}}
{{- end -}}
{{- with .api.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- $wrong = append $wrong "api.autoscaling: minReplicas must not be above maxReplicas" -}}
{{- end -}}
{{- if and .enabled (not .targetCPUUtilizationPercentage) (not .targetMemoryUtilizationPercentage) -}}
{{- $wrong = append $wrong "api.autoscaling: set targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" -}}
{{- end -}}
{{- end -}}
{{- range $resource, $target := dict "cpu" .api.autoscaling.targetCPUUtilizationPercentage "memory" .api.autoscaling.targetMemoryUtilizationPercentage -}}
{{- if and $.Values.api.autoscaling.enabled $target (not (dig "requests" $resource "" $.Values.api.resources)) -}}
{{- $wrong = append $wrong (printf "api.resources.requests.%s: autoscaling is measured by it, so set it" $resource) -}}
{{- end -}}
{{- end -}}
{{- if gt (int (dig "minWorkers" 0 .settings)) (int (dig "maxWorkers" 4 .settings)) -}}
{{- $wrong = append $wrong "settings.minWorkers: must not be above settings.maxWorkers" -}}
{{- end -}}
{{- if and .monitoring.podMonitor.enabled .networkPolicy.enabled (not .networkPolicy.metricsFrom) -}}
{{- $wrong = append $wrong "monitoring.podMonitor: Prometheus is kept out until networkPolicy.metricsFrom says where it is" -}}
{{- end -}}
{{- range $component := list "api" "operator" -}}
{{- with index $.Values $component "serviceAccount" -}}
{{- if not (or .create .name) -}}
{{- $wrong = append $wrong (printf "%s.serviceAccount.name: name the account that is there, or set create" $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "these values do not go together:\n  %s" (join "\n  " $wrong)) -}}
{{- end -}}
{{- end }}
