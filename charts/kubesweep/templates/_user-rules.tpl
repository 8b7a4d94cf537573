{{/* The rights of people who use `kubectl sweep`. docs/kubectl.md has them for each command; a test compares the two. */}}
{{- define "kubesweep.viewerRules" -}}
# The schedules, with their status.
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules]
  verbs:
    - get # one schedule
    - list # all of a namespace
    - watch # to follow a sweep until it ends
# Events of schedules, workers and Jobs. kubectl reads them in both groups.
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs:
    - get # an Event that a report names
    - list # the Events of a schedule
    - watch # kubectl events --watch
# Workers and the pods of ticks.
- apiGroups: [""]
  resources: [pods]
  verbs:
    - get # why a pod does not start
    - list # the pods of a schedule
    - watch # to follow the logs of pods that start later
- apiGroups: [""]
  resources: [pods/log]
  verbs:
    - get # the logs of workers and ticks
# What the controller created for a schedule.
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get # how many workers a schedule has, and why not more
    - list # those of a namespace
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs:
    - get # when the last tick was, and why it failed
    - list # those of a namespace
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs:
    - get # what KEDA reports
    - list # those of a namespace
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs:
    - get # what KEDA's autoscaler reports
    - list # those of a namespace
{{- end }}

{{/* What an operator may do in addition. The rights cannot be narrower: RBAC knows no fields of an object, and no pods or Jobs of one schedule. Who may patch a
schedule may change its SQL; who may enter its pods, or create a Job, may use the Secret of its database. Bind it where that person may have this access. */}}
{{- define "kubesweep.operatorRules" -}}
{{ include "kubesweep.viewerRules" . }}
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules]
  verbs:
    - patch # commands (annotations), suspend and resume, kubectl edit
    - update # kubectl replace, and clients that write the whole object
# Programs beside a running worker, with its credentials: dead letters and checks.
- apiGroups: [""]
  resources: [pods/exec]
  verbs:
    - create # kubectl exec
    - get # the same over a websocket, which begins with a GET
# The same programs where no worker runs: a Job with the worker's pod template, which mounts the database's Secret.
- apiGroups: [batch]
  resources: [jobs]
  verbs:
    - create # one for each check, and for the dead letters of a schedule without workers
    - delete # when it has ended
{{- end }}
