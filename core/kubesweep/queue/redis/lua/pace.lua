-- flags: no-writes
return call('HGET', CONTROL, 'pace') or ''
