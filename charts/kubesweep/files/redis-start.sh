# The server reads the hash of its password from standard input, so the password is in no other file, argument or environment variable.
# A line break after the password in the Secret is not part of it, because no client sends it.
set -eu
password=$(cat /run/kubesweep/redis/password)
[ -n "$password" ] || { echo "the key password of the Secret is empty: put a password there"; exit 1; }
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
exec redis-server /etc/kubesweep/redis.conf - <<END
user default on #$hash ~* &* +@all
END
