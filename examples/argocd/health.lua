-- What Argo CD shows as the health of a SweepSchedule. Argo CD runs this for each object and takes the table that it returns.
local status = obj.status or {}

local function condition(kind)
  for _, each in ipairs(status.conditions or {}) do
    if each.type == kind then return each end
  end
  return {status = "Unknown", reason = "", message = ""}
end

local function health(said, message) return {status = said, message = message} end

local ready, stalled, degraded = condition("Ready"), condition("Stalled"), condition("Degraded")

if (status.observedGeneration or -1) ~= obj.metadata.generation then
  return health("Progressing", "The controller has not seen this version yet")
end
-- Before Suspended: what only an edit cures is not cured by a resume.
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
