{{/* The controller's connection to the queue: URL, credentials, files. Workers get theirs from the controller. */}}
{{- define "kubesweep.redisName" -}}
{{- /* The pods of a StatefulSet have a label with its name and a hash of ten characters; a label has at most 63. */ -}}
{{- printf "%s-redis" (include "kubesweep.fullname" . | trunc 46 | trimSuffix "-") -}}
{{- end }}

{{- define "kubesweep.queueUrl" -}}
{{- if .Values.redis.enabled -}}
redis://default@{{ include "kubesweep.redisName" . }}.{{ include "kubesweep.namespace" . }}.svc:6379/0?password_file=/run/kubesweep/admin/password
{{- else -}}
{{- $url := .Values.externalRedis.url -}}
{{- if .Values.externalRedis.existingSecret.usernameKey -}}
{{- $url = $url | replace "://" "://$(KUBESWEEP_QUEUE_USER)@" -}}
{{- end -}}
{{- $url -}}{{ contains "?" $url | ternary "&" "?" }}password_file=/run/kubesweep/admin/password
{{- if .Values.externalRedis.existingSecret.caKey }}&ssl_ca_certs=/run/kubesweep/admin/ca.crt{{ end -}}
{{- if .Values.externalRedis.existingSecret.sentinelPasswordKey }}&sentinel_password_file=/run/kubesweep/admin/sentinel-password{{ end -}}
{{- end -}}
{{- end }}

{{- define "kubesweep.queueUsers" -}}
{{- .Values.redis.enabled | ternary .Values.redis.usersPerNamespace .Values.externalRedis.usersPerNamespace | ternary "per-namespace" "shared" -}}
{{- end }}

{{/* The files of the queue's Secret: {secret, keys: {file: key}}, as JSON. */}}
{{- define "kubesweep.queueSecret" -}}
{{- if .Values.redis.enabled -}}
{{- dict "secret" (default (include "kubesweep.redisName" .) .Values.redis.existingSecret) "keys" (dict "password" "password") | toJson -}}
{{- else -}}
{{- with .Values.externalRedis.existingSecret -}}
{{- $keys := dict "password" .passwordKey -}}
{{- if .caKey }}{{ $_ := set $keys "ca.crt" .caKey }}{{ end -}}
{{- if .sentinelPasswordKey }}{{ $_ := set $keys "sentinel-password" .sentinelPasswordKey }}{{ end -}}
{{- dict "secret" .name "keys" $keys | toJson -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The configuration files of the bundled Redis. Its pod restarts only if they change, not with each version of the chart. */}}
{{- define "kubesweep.redisFiles" -}}
redis.conf: |
  {{- .Files.Get "files/redis.conf" | trim | nindent 2 }}
  maxmemory {{ .Values.redis.maxmemory }}
  {{- with .Values.redis.extraConfig }}{{ trim . | nindent 2 }}{{ end }}
start.sh: |
  {{- .Files.Get "files/redis-start.sh" | trim | nindent 2 }}
probe.sh: |
  {{- .Files.Get "files/redis-probe.sh" | trim | nindent 2 }}
{{- end }}
