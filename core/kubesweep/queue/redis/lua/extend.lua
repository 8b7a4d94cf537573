-- flags: allow-oom
-- needs: claims
if not known() then return ids_of(args.claims) end
local lost, until_ = {}, text(now + args.lease)
prefetch_owners(args.claims)
for _, claim in ipairs(args.claims) do
  if owns(claim) then call('ZADD', LEASES, until_, claim[1]) else lost[#lost + 1] = claim[1] end
end
keep(LEASES)
return lost
