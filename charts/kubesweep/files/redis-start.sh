# The server gets its password's hash on standard input: the password stands in no file of ours, no argument and no environment.
# A line's end after the password in the Secret is not part of it: no client sends it.
set -eu
password=$(cat /run/kubesweep/redis/password)
[ -n "$password" ] || { echo "the key password of the Secret is empty: put a password there"; exit 1; }
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
exec redis-server /etc/kubesweep/redis.conf - <<END
user default on #$hash ~* &* +@all
END
