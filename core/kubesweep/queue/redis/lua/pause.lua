-- flags: allow-oom
if known() then
  call('HSET', CONTROL, 'paused', args.paused)
  call('PEXPIRE', CONTROL, lifetime())
  refresh()
  if args.paused == 0 then wake() end
end
return 1
