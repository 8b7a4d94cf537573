-- flags: allow-oom
-- needs: sweeps claims
-- args.claims: {id, owner, delivery, rows, body, refund} each. A released job is queued after the waiting ones.
if not known() then return ids_of(args.claims) end
removed = true  -- even if all are lost: a delayed plan job must be admitted by the current clock, which may have been set back
local lost, done, unused = {}, {}, 0
for _, claim in ipairs(args.claims) do
  local h = owns(claim) and header_of(claim[1])
  if not h then
    lost[#lost + 1] = claim[1]
  else
    local id, kind, _, _, _, token = parse(h)
    done[#done + 1] = claim[1]
    unused = unused + claim[6]
    if is_obsolete(id, kind) then
      local sweep = find_sweep(id)
      if sweep then
        sweep.open = sweep.open - 1
        change(sweep)
      end
    else
      local h = header(id, kind, claim[3] - 1, claim[4], now, token)
      if kind == 'h' then
        enqueue_retry(h, claim[5])
      else
        local entry = enqueue(h, claim[5])
        if kind == 'n' then keep_check(entry) end
      end
    end
  end
end
remove(done)
local rate = unused ~= 0 and call('HGET', META, 'rate')
if rate then refund(unused, tonumber(rate), tonumber(rate)) end
save_sweeps()
return lost
