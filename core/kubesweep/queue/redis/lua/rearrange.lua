-- flags: allow-oom
-- needs: sweeps claims
-- Take rows out of retry jobs that no worker has: {where, header, body, rows left, body left, body of the rows to be tried now or
-- false, names of the rows taken} each. A job that a worker took meanwhile stays as it is.
local count, freed = 0, 0

local function remove_idle(move)
  local where, member = move[1], move[2] .. '\n' .. move[3]
  if where == '' then
    local due = call('ZSCORE', DELAYED, member)
    return due and undelay(member) and tonumber(due) or nil
  end
  if call('ZSCORE', LEASES, where) ~= false or call('XDEL', WORK, where) == 0 then return nil end
  call('SREM', EARLY, where)
  return now
end

local function put_back(move, due, id, crashes, since, token)
  local left = header(id, 'h', crashes, move[4], since, token)
  if move[1] == '' then delay(due, left, move[5]) else add(left, move[5]) end
end

if not known() then return 0 end
for _, move in ipairs(args.changes) do
  local due = remove_idle(move)
  if due then
    local id, _, crashes, _, since, token = parse(move[2])
    local names = move[7]
    if move[4] > 0 then put_back(move, due, id, crashes, since, token) end
    if move[6] then
      add(header(id, 'h', 0, #names, now, token), move[6])
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
