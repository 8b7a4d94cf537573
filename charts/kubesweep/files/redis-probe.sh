# ready: the server answers us. alive: it answers at all, and still takes the password that the Secret has; one that was rotated restarts it.
answer=$(REDISCLI_AUTH=$(cat /run/kubesweep/redis/password) redis-cli ping 2>/dev/null)
case $1:$answer in
  *:PONG | alive:LOADING* | alive:BUSY* | alive:MISCONF*) exit 0 ;;
esac
echo "redis answers: ${answer:-nothing}"
exit 1
