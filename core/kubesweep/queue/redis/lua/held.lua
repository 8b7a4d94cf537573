-- flags: no-writes
return {call('HGET', META, 'held') or '0', call('HKEYS', HELD)}
