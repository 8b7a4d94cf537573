"""Why a schedule is late: from the objects of the cluster to one sentence and one command. Pure."""
