# One line about how this boot went, before the first prompt.
[ -n "$PS1" ] && /usr/lib/psyops/psyops-agent status --short 2>/dev/null
true
