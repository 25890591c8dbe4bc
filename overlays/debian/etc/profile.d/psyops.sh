# How this boot went: a word before each prompt where not all is well. No program is started for it; the agent keeps the
# word in a file. (The line at login comes from /run/motd.d, through pam_motd.)
psyops_prompt() {
    [ -r /run/psyops/prompt ] && read -r psyops_word </run/psyops/prompt && printf '%s ' "$psyops_word"
}
[ -n "$PS1" ] && PS1='$(psyops_prompt)'$PS1
true
