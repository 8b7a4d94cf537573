{{/* Names. Namespaced objects are named after the release. Cluster-scoped ones also have its namespace in the name, so that two releases with one name do not collide. */}}
{{- define "kubesweep.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The namespace of the release's objects. */}}
{{- define "kubesweep.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* Adds missing values to a release of an older chart (`helm upgrade --reuse-values`), block by block. A key that was set to null on purpose stays
null. Each template begins with it. */}}
{{- define "kubesweep.defaults" -}}
{{- $blocks := list "image" "persistence" "podDisruptionBudget" "service" "serviceMonitor" "podMonitor" "prometheusRule" "grafanaDashboard" "existingSecret" "egress" "viewer" "operator" "strategy" "livenessProbe" "readinessProbe" "podTemplate" "defaults" -}}
{{- range $name, $default := .Files.Get "files/values.yaml" | fromYaml -}}
{{- $given := index $.Values $name -}}
{{- if kindIs "invalid" $given -}}
{{- $_ := set $.Values $name $default -}}
{{- else if kindIs "map" $given -}}
{{- range $block := $blocks -}}
{{- if and (hasKey $default $block) (kindIs "invalid" (index $given $block)) -}}{{- $_ := set $given $block (index $default $block) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "kubesweep.clusterName" -}}
{{- printf "%s:%s" (include "kubesweep.fullname" .) (include "kubesweep.namespace" .) -}}
{{- end }}

{{- define "kubesweep.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kubesweep.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name an existing ServiceAccount, or set serviceAccount.create=true to create one" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* The labels that a selector matches. Call with (list $ COMPONENT). */}}
{{- define "kubesweep.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* A pod's labels. Call with (list $ COMPONENT LABELS). They have nothing that changes with the chart's version, because then each upgrade would restart the
queue. The selector's labels cannot be overridden; for all others the user's value wins. */}}
{{- define "kubesweep.podLabels" -}}
{{- $root := index . 0 -}}
{{- merge (include "kubesweep.selector" . | fromYaml) (index . 2) $root.Values.commonLabels (dict "app.kubernetes.io/part-of" "kubesweep") | toYaml -}}
{{- end }}

{{/* An object's labels. Call with (list $ COMPONENT), or (list $ COMPONENT LABELS) to add labels. */}}
{{- define "kubesweep.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict -}}
{{- if gt (len .) 2 }}{{ $own = index . 2 }}{{ end -}}
{{- $ours := dict "app.kubernetes.io/part-of" "kubesweep" "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $chart := printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") -}}
{{- $helm := dict "app.kubernetes.io/managed-by" $root.Release.Service "helm.sh/chart" $chart -}}
{{- merge (include "kubesweep.selector" . | fromYaml) $helm $own $root.Values.commonLabels $ours | toYaml -}}
{{- end }}

{{/* Name, labels and annotations of an object. Call with (list $ COMPONENT NAME), followed by optional ANNOTATIONS and LABELS to add. */}}
{{- define "kubesweep.metadata" -}}
{{ include "kubesweep.metadataAnywhere" . }}
namespace: {{ include "kubesweep.namespace" (index . 0) | quote }}
{{- end }}

{{/* The same for cluster-scoped objects, and for objects in another namespace than the release's. */}}
{{- define "kubesweep.metadataAnywhere" -}}
{{- $root := index . 0 -}}
{{- $own := dict -}}
{{- $labels := dict -}}
{{- if gt (len .) 3 }}{{ $own = index . 3 }}{{ end -}}
{{- if gt (len .) 4 }}{{ $labels = index . 4 }}{{ end -}}
name: {{ index . 2 }}
labels:
  {{- include "kubesweep.labels" (list $root (index . 1) $labels) | nindent 2 }}
{{- with merge (dict) $own $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An image's reference. Call with (list $ .Values.controller.image). */}}
{{- define "kubesweep.image" -}}
{{- $image := index . 1 -}}
{{- $registry := default $image.registry ((index . 0).Values.global).imageRegistry -}}
{{- $name := printf "%s/%s" $registry $image.repository | trimPrefix "/" -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default (index . 0).Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* The names of the Secrets for pulling images, as JSON. Call with (list $ LIST); its entries are names, or maps with a name. Those of global.imagePullSecrets
are added. */}}
{{- define "kubesweep.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (index . 1)) (default list ((index . 0).Values.global).imagePullSecrets) -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end }}

{{- define "kubesweep.podPullSecrets" -}}
{{- with include "kubesweep.pullSecrets" (list . .Values.imagePullSecrets) | fromJsonArray }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}

{{/* A security context without the keys that were set to null. */}}
{{- define "kubesweep.withoutNull" -}}
{{- $kept := dict -}}
{{- range $key, $value := . }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $kept $key $value }}{{ end }}{{ end -}}
{{- toYaml $kept -}}
{{- end }}

{{/* Whether OpenShift chooses user and group of pods. It is a separate value, because a parent chart cannot set a key to null. */}}
{{- define "kubesweep.openshift" -}}
{{- $said := toString .Values.openshift -}}
{{- has $said (list "true" "false") | ternary $said (.Capabilities.APIVersions.Has "security.openshift.io/v1" | toString) -}}
{{- end }}

{{/* The namespaces to serve, as JSON; an empty list means all. */}}
{{- define "kubesweep.namespaces" -}}
{{- if .Values.namespaced -}}
{{- list (include "kubesweep.namespace" .) | toJson -}}
{{- else -}}
{{- .Values.watchNamespaces | uniq | toJson -}}
{{- end -}}
{{- end }}

{{/* Refuses combinations of values that the schema cannot check. */}}
{{- define "kubesweep.check" -}}
{{- if and .Values.namespaced .Values.watchNamespaces -}}
{{- fail "namespaced and watchNamespaces: set one of them. namespaced serves the release's own namespace" -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.externalRedis.url -}}
{{- fail "externalRedis.url and redis.enabled: set redis.enabled=false to use your own Redis" -}}
{{- end -}}
{{- if and (not .Values.redis.enabled) (not .Values.externalRedis.url) -}}
{{- fail "externalRedis.url: name the queue, or set redis.enabled=true to install one" -}}
{{- end -}}
{{- if and .Values.externalRedis.url (not .Values.externalRedis.existingSecret.name) -}}
{{- fail "externalRedis.existingSecret.name: name the Secret that has the password of the queue. A queue without a password is not supported, because anyone who can connect could forge jobs. Set a password (on ElastiCache an AUTH token)" -}}
{{- end -}}
{{- if and .Values.redis.persistence.existingClaim (not .Values.redis.persistence.enabled) -}}
{{- fail "redis.persistence.existingClaim: it is not used while redis.persistence.enabled is false. Set redis.persistence.enabled=true" -}}
{{- end -}}
{{- if regexMatch "://[^@/?]*:[^@/?]*@|[?&](sentinel_)?password(_file)?=" .Values.externalRedis.url -}}
{{- fail "externalRedis.url: remove the password, because everyone who may read the Deployment could read it. Put it in the Secret that externalRedis.existingSecret names" -}}
{{- end -}}
{{- if contains "ssl_ca_certs=" .Values.externalRedis.url -}}
{{- fail "externalRedis.url: remove ssl_ca_certs, which names a file. Put the certificate authority in the Secret and its key in externalRedis.existingSecret.caKey" -}}
{{- end -}}
{{- if and .Values.externalRedis.existingSecret.usernameKey (contains "@" .Values.externalRedis.url) -}}
{{- fail "externalRedis.existingSecret.usernameKey: externalRedis.url has a user already. Name the user in one place" -}}
{{- end -}}
{{- if and .Values.externalRedis.existingSecret.caKey (not (regexMatch "^(rediss|valkeys)" .Values.externalRedis.url)) -}}
{{- fail "externalRedis.existingSecret.caKey: a certificate authority needs TLS. Write rediss:// in externalRedis.url" -}}
{{- end -}}
{{- if regexMatch "[+]sentinel://[^/?]*/?([?]|$)" .Values.externalRedis.url -}}
{{- fail "externalRedis.url: the name of the Sentinel service is missing. Write redis+sentinel://HOST:26379,HOST2:26379/SERVICE" -}}
{{- end -}}
{{- if and .Values.externalRedis.existingSecret.sentinelPasswordKey (not (contains "+sentinel://" .Values.externalRedis.url)) -}}
{{- fail "externalRedis.existingSecret.sentinelPasswordKey: externalRedis.url names no Sentinels. Write redis+sentinel://" -}}
{{- end -}}
{{- if and .Values.crds.enabled (not .Values.namespaced) .Release.IsInstall -}}
{{- range .Values.extraObjects -}}
{{- $kind := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "kind") "" -}}
{{- if or (eq "SweepSchedule" (toString $kind)) (and (kindIs "string" .) (regexMatch "(?m)^kind:\\s*[\"']?SweepSchedule\\b" .)) -}}
{{- fail "extraObjects: a SweepSchedule cannot be installed together with its CRD. Apply it after the release, or apply the CRD first and set crds.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
