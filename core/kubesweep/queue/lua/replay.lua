-- needs: sweeps selecting
if not known() then return 0 end
local rows, groups, order = selected(), {}, {}
for _, row in ipairs(rows) do
  local id = row[2].s
  if not groups[id] then
    groups[id] = {}
    order[#order + 1] = id
  end
  table.insert(groups[id], row)
end
for _, id in ipairs(order) do
  local group, sweep = groups[id], find_sweep(id)
  for first = 1, #group, args.most do
    local keys, token = {}, new_token()
    for i = first, math.min(first + args.most - 1, #group) do
      local key, record = group[i][1], group[i][2]
      record.j = token
      call('HSET', HELD, key, cjson.encode(record))
      call('ZREM', DEAD, key)
      keys[#keys + 1] = key
    end
    local body = cjson.encode({kind = 'keys', sweep = id, held = true})
    add(header(id, 'h', 0, #keys, now, token), with_keys(body, keys))
  end
  if sweep then
    sweep.dead = sweep.dead - #group
    sweep.held = sweep.held + #group
    change(sweep)
  end
end
save_sweeps()
return #rows
