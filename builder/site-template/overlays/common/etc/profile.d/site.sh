# From overlays/common of the site. Read by login shells.
export EDITOR=vi
