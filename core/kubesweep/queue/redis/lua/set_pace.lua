-- flags: allow-oom
if known() then
  call('HSET', CONTROL, 'pace', args.pace)
  call('PEXPIRE', CONTROL, lifetime())
  refresh()
  wake()
end
return 1
