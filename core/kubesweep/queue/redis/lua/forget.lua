-- flags: allow-oom
call('UNLINK', CONTROL, unpack(KEYS))
return 1
