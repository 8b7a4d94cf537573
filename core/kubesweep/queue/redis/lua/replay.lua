-- needs: sweeps select_dead_letters
if not known() then return 0 end
local here, groups, order, count = call('HGET', META, 'origin') or '', {}, {}, 0
for _, row in ipairs(select_dead_letters(here)) do
  local origin, id = row[1], row[3].s
  local name = id .. ' ' .. origin
  if not groups[name] then
    groups[name] = {id = id, origin = origin}
    order[#order + 1] = groups[name]
  end
  table.insert(groups[name], row)
  count = count + 1
end
for _, group in ipairs(order) do
  local sweep = find_sweep(group.id)
  for first = 1, #group, args.most do
    local keys, effects_done, token = {}, {}, new_token()
    for i = first, math.min(first + args.most - 1, #group) do
      local key, record = group[i][2], group[i][3]
      record.j = token
      call('HSET', EXCLUDED, group.origin .. key, cjson.encode(record))
      call('ZREM', DEAD, group.origin .. key)
      keys[#keys + 1] = key
      add_effect(effects_done, key, record.t)
    end
    table.sort(keys)
    local body = cjson.encode({kind = 'keys', sweep = group.id, is_retry = true, origin = group.origin})
    enqueue_retry(header(group.id, 'h', 0, #keys, now, token), with_keys(body, keys, effects_done))
  end
  if sweep then
    sweep.dead = sweep.dead - #group
    sweep.retrying = sweep.retrying + #group
    change(sweep)
  end
end
save_sweeps()
return count
