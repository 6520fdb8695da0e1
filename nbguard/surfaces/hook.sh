if [ -n "${ZSH_VERSION-}" ]; then eval 'precmd_functions+=(nbguard_look)'
elif [ -n "${BASH_VERSION-}" ]; then PROMPT_COMMAND="nbguard_look${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
else PS1='$(nbguard_look)'"${PS1-}"; fi
