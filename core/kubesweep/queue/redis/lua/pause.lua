-- flags: allow-oom
if known() then
  set_control('paused', args.paused)
  refresh()
  if args.paused == 0 then wake() end
end
return 1
