-- flags: no-writes
return {call('HGET', META, 'excluded') or '0', call('HKEYS', EXCLUDED)}
