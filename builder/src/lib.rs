//! Everything that psyopsOS does on the workstation.
