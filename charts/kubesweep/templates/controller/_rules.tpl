{{/* The controller's permissions in a namespace that it serves: exactly those that it uses. A test compares the API server's audit log with them. */}}
{{- define "kubesweep.rules" -}}
# The schedules. The controller never writes their spec or metadata, so it needs no update, no patch and no finalizer.
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules]
  verbs:
    - list # at the start, and to find missed changes, mostly deletions
    - watch # to get changes
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules/status]
  verbs:
    - patch # to write conditions, counts and history
# The workers of a schedule. The garbage collector deletes them through their owner reference.
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get # to check the owner before a change, and whether another release still exists
    - list # at the start, and to find missed changes
    - watch # to restore deleted or edited objects, and to report pods that do not start
    - create # with zero replicas; later KEDA sets the number
    - patch # server-side apply
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs:
    - patch # the number of replicas, if there is no KEDA
# The cron schedule.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs:
    - get # to check the owner before a change
    - list # at the start, and to find missed changes
    - watch # to restore deleted or edited objects, and to detect missed ticks
    - create # server-side apply of a new one
    - patch # server-side apply
    - delete # when spec.schedule is replaced by spec.every
# The scaling of a schedule's workers.
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs:
    - get # to check the owner before a change, and to read KEDA's conditions
    - create # server-side apply of a new one
    - patch # server-side apply
# Why a worker does not start: only pods report ImagePullBackOff and similar reasons.
- apiGroups: [""]
  resources: [pods]
  verbs:
    - list # those of one schedule, if its Deployment is not ready
# The queue credentials for the workers of a namespace. The controller reads no Secret through the API.
- apiGroups: [""]
  resources: [secrets]
  verbs:
    - create # cannot be limited to a name
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [kubesweep-queue]
  verbs:
    - patch # server-side apply; the response contains the Secret, so this permission can read it
# Whether the namespace still has the uid for which its credentials were created: a recreated namespace gets new ones.
- apiGroups: [""]
  resources: [namespaces]
  verbs:
    - get # each namespace that has a schedule
# Events, such as for dead letters.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # the first of a kind
    - patch # the count of the following ones
{{- end }}
