# nbguard-alert UNIT PAUSE PLACE LAST-RESORT: UNIT failed, says its manager. It leaves a note in the first of both folders
# that is ours, and tells by what there is: at once, then every six hours for a unit, and never twice in ten minutes.
unit=$1 pause=$2 place=$3 resort=$4
umask 077
PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PATH

shown() { systemctl --user show "$unit" --property="$1" --value 2>/dev/null; }
ours() { [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; }
recent() { [ -n "$(find "$1" -mmin "-$2" 2>/dev/null)" ]; }

# Newer managers call at every failure; one that starts the daemon again by itself needs no help yet.
if [ "$unit" = nbguard.service ]; then
  case $(shown SubState) in *auto-restart*|start*|running) exit 0 ;; esac
fi

result=${MONITOR_SERVICE_RESULT:-$(shown Result)} status=${MONITOR_EXIT_STATUS:-$(shown ExecMainStatus)}
case $result/$status in
  */203) why="the program that it starts is gone" ;;
  */78) why="the configuration cannot be used" ;;
  timeout/*) why="it did not end in time" ;;
  *) why="$result, status $status" ;;
esac

folder=
for one in "$place" "$resort"; do
  ours "$one" || mkdir "$one" 2>/dev/null
  if ours "$one"; then folder=$one; break; fi
done
# A check may have met an upgrade of nbguard half done: it gets one more try. What runs well removes our notes of it.
if [ -n "$folder" ] && [ "$unit" != nbguard.service ] && [ "$result" != timeout ] && [ ! -e "$folder/.failed-$unit" ]; then
  : >"$folder/.failed-$unit"
  sleep "$pause"
  timeout 40 systemctl --user start "$unit" 2>/dev/null
  case $? in 0|124) exit 0 ;; esac # well, or still at work: should it fail, we are called again
fi
if [ -n "$folder" ]; then
  # Its time says since when, so that it is not written again while the trouble is the same.
  if [ "$(cat "$folder/ALERT-$unit" 2>/dev/null)" != "$why" ]; then
    printf '%s\n' "$why" >"$folder/.new-$unit" && mv -f "$folder/.new-$unit" "$folder/ALERT-$unit"
  fi
  if recent "$folder/.told-$unit" 360 || recent "$folder/.told" 10; then exit 0; fi
  : >"$folder/.told-$unit"
  : >"$folder/.told"
fi

text="nbguard on $(uname -n): $unit failed: $why. Notebooks may not be protected. Run: nbguard status (or install nbguard again)"
printf '<1>%s\n' "$text"
command -v notify-send >/dev/null && timeout 5 notify-send --urgency=critical nbguard "$text" 2>/dev/null
# What nbguard prepared while it could: the channels that need no nbguard.
if [ -n "$folder" ] && [ -f "$folder/alert-channels.sh" ] && [ -O "$folder/alert-channels.sh" ]; then
  timeout 60 /bin/sh "$folder/alert-channels.sh" "$text" </dev/null
fi
exit 0
