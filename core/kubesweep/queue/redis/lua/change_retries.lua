-- flags: allow-oom
-- needs: sweeps claims
-- Takes rows out of unclaimed retry jobs. args.changes: {where, header, body, rows left, body left, body of the rows to try now or
-- false, names of the rows taken} each. A job that was claimed meanwhile is left alone.
local count, freed = 0, 0

local function remove_idle(edit)
  local where, member = edit[1], edit[2] .. '\n' .. edit[3]
  if where == '' then
    local due = call('ZSCORE', DELAYED, member)
    return due and undelay(member) and tonumber(due) or nil
  end
  if call('ZSCORE', LEASES, where) ~= false or call('XDEL', WORK, where) == 0 then return nil end
  call('SREM', EARLY, where)
  return now
end

local function enqueue_rest(edit, due, id, crashes, since, token)
  local left = header(id, 'h', crashes, edit[4], since, token)
  if edit[1] == '' then delay(due, left, edit[5]) else enqueue_retry(left, edit[5]) end
end

if not known() then return 0 end
for _, edit in ipairs(args.changes) do
  local due = remove_idle(edit)
  if due then
    local id, _, crashes, _, since, token = parse(edit[2])
    local names = edit[7]
    if edit[4] > 0 then enqueue_rest(edit, due, id, crashes, since, token) end
    if edit[6] then
      enqueue_retry(header(id, 'h', 0, #names, now, token), edit[6])
    else
      in_chunks(names, function(...) call('HDEL', EXCLUDED, ...) end)
      freed = freed + #names
      local sweep = find_sweep(id)
      if sweep then
        sweep.retrying, sweep.skipped = sweep.retrying - #names, sweep.skipped + #names
        change(sweep)
      end
    end
    count = count + #names
  end
end
if freed > 0 then excluded_changed() end
save_sweeps()
return count
