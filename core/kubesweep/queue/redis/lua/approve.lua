-- needs: sweeps
if not known() then return '' end
local id = sweep_ids()[1]
local sweep = id and find_sweep(id)
if not sweep or sweep.state ~= 'AwaitingApproval' or (args.sweep and args.sweep ~= id) then return '' end
set_control('approved', id) -- first: a user without this right has then written nothing
sweep.state, sweep.reason, sweep.message = 'Planning', '', ''
sweep.open, sweep.approved = sweep.open + 1, text(now)
change(sweep)
unblock_retries()
enqueue(header(id, 'p', 0, 0, now), cjson.encode({
  kind = 'plan', plan = {generation = sweep.generation, hash = sweep.hash}, sweep = id, cutoff = sweep.cutoff,
  planned = sweep.planned,
}))
save_sweeps()
refresh()
return id
