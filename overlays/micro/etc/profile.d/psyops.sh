# How this boot went: a word before each prompt where not all is well, and a line at login. No program is started for
# either; the agent keeps both in files.
psyops_prompt() {
    [ -r /run/psyops/prompt ] && read -r psyops_word </run/psyops/prompt && printf '%s ' "$psyops_word"
}
if [ -n "$PS1" ]; then
    PS1='$(psyops_prompt)'$PS1
    if [ -r /run/motd.d/psyops ]; then
        while read -r psyops_line; do printf '%s\n' "$psyops_line"; done </run/motd.d/psyops
    fi
fi
true
