-- flags: allow-oom
-- needs: sweeps claims take
if not known() then return {} end
local taken = take(args.consumer, args.want, args.lease, bound(args.rate, args.burst))
save_sweeps()
return taken
