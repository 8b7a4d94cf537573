-- flags: allow-oom
if known() then
  set_control('pace', args.pace)
  call('HSET', META, 'paced', 1)
  refresh()
  wake()
end
return 1
