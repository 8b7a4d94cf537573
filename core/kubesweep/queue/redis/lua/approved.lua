-- flags: no-writes
return call('HGET', CONTROL, 'approved') or ''
