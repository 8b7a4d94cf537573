-- flags: allow-oom
call('UNLINK', unpack(KEYS))
return 1
