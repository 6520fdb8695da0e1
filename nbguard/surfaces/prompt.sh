# nbguard: speaks before a prompt when notebooks are no longer protected. For bash, zsh, ksh, dash. Needs no Python.
nbguard_look() {
  set -- "$?"
  # Where the shell counts seconds: a look every 10, and the same words again after 300.
  if [ -n "${SECONDS-}" ] && [ -n "${nbguard_looked-}" ] && [ "$((SECONDS - nbguard_looked))" -lt 10 ]; then return "$1"; fi
  nbguard_line=
  nbguard_beat= nbguard_pid=
  { read -r nbguard_word && read -r nbguard_word nbguard_pid && read -r nbguard_word && read -r nbguard_word &&
    IFS= read -r nbguard_beat; } 2>/dev/null <@HEARTBEAT@
  # Another beat than at the last look, which is not long ago: no need to start a program for its time.
  if [ -n "$nbguard_beat" ] && [ "$nbguard_beat" != "${nbguard_last-$nbguard_beat}" ] && [ -n "${nbguard_looked-}" ] &&
    [ "$((SECONDS - nbguard_looked))" -lt @SECONDS@ ]; then nbguard_stale=
  elif [ -n "$(command find @HEARTBEAT@ -mmin -@MINUTES@ 2>/dev/null)" ]; then nbguard_stale=
  else nbguard_doubt; fi
  nbguard_last=$nbguard_beat
  nbguard_looked=${SECONDS-}
  for nbguard_note in @NOTES@; do
    if [ -s "$nbguard_note" ] && [ -O "$nbguard_note" ] && IFS= read -r nbguard_word <"$nbguard_note"; then
      nbguard_line="$nbguard_line${nbguard_line:+
}nbguard: ${nbguard_note##*ALERT-} failed: $nbguard_word"
    fi
  done
  if [ -s @NOTICE@ ] && IFS= read -r nbguard_word <@NOTICE@; then
    nbguard_line="$nbguard_line${nbguard_line:+
}nbguard: $nbguard_word"
  fi 2>/dev/null
  if [ -n "$nbguard_line" ]; then
    if [ "$nbguard_line" != "${nbguard_said-}" ] || [ "$((${SECONDS:-300} - ${nbguard_at:-0}))" -ge 300 ]; then
      printf '%s\n' "$nbguard_line" >&2
      nbguard_at=${SECONDS-}
    fi
  fi
  nbguard_said=$nbguard_line
  return "$1"
}
# No fresh heartbeat. It may be that the machine has just started, or woken: then the daemon is there, and gets 15 seconds.
nbguard_doubt() {
  if [ ! -d @STATE@ ]; then
    nbguard_line=@GONE@
    return
  fi
  if IFS= read -r nbguard_word 2>/dev/null <@STOP@; then
    case $nbguard_word in *'"uninstalled"'*) return ;; esac
  fi 2>/dev/null
  if read -r nbguard_word nbguard_boot </proc/uptime && [ "${nbguard_word%%.*}" -lt 120 ]; then return; fi 2>/dev/null
  nbguard_pid=${nbguard_pid%,}
  if [ -n "${SECONDS-}" ] && [ -n "$nbguard_pid" ] && kill -0 "$nbguard_pid" 2>/dev/null; then
    nbguard_stale=${nbguard_stale:-$SECONDS}
    if [ "$((SECONDS - nbguard_stale))" -lt 15 ]; then return; fi
  fi
  nbguard_line=@STALE@
}
