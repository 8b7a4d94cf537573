-- The health of a SweepSchedule in Argo CD. Argo CD runs this script for each object and shows the table that it returns.
local status = obj.status or {}

local function condition(kind)
  for _, each in ipairs(status.conditions or {}) do
    if each.type == kind then return each end
  end
  return {status = "Unknown", reason = "", message = ""}
end

local function health(status, message) return {status = status, message = message} end

local ready, stalled, degraded = condition("Ready"), condition("Stalled"), condition("Degraded")

if (status.observedGeneration or -1) ~= obj.metadata.generation then
  return health("Progressing", "The controller has not seen this version yet")
end
-- Checked before Suspended: if only an edit can fix the schedule, resuming it does not help.
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
if condition("Suspended").status == "True" then
  return health("Suspended", condition("Suspended").message)
end
if ready.status ~= "True" then
  if ready.status == "False" and ready.reason ~= "Checking" then
    return health("Degraded", ready.reason .. ": " .. ready.message)
  end
  return health("Progressing", ready.message)
end
if degraded.status == "True" then
  return health("Degraded", degraded.reason .. ": " .. degraded.message)
end
return health("Healthy", ready.message)
