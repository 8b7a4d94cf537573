-- flags: allow-oom
if known() then
  set_control('pace', args.pace)
  refresh()
  wake()
end
return 1
