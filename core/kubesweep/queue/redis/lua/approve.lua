-- needs: sweeps
if not known() then return '' end
local id = remembered()[1]
local sweep = id and find_sweep(id)
if not sweep or sweep.state ~= 'AwaitingApproval' or (args.sweep and args.sweep ~= id) then return '' end
call('HSET', CONTROL, 'approved', id) -- first: whoever may not do that has written nothing
call('PEXPIRE', CONTROL, lifetime())
sweep.state, sweep.reason, sweep.message = 'Planning', '', ''
sweep.open = sweep.open + 1
change(sweep)
add(header(id, 'p', 0, 0, now), cjson.encode({
  kind = 'plan', plan = {generation = sweep.generation, hash = sweep.hash}, sweep = id, cutoff = sweep.cutoff,
  planned = sweep.planned,
}))
save_sweeps()
refresh()
return id
