//! What can be wrong with the program of a role.

use std::fmt;

/// Why a node could not start a role's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleProgramProblem {
    /// There is no such file.
    Missing,
    /// No one may execute it.
    NotExecutable,
    /// Its first line ends as on Windows, so that the kernel looks for an interpreter with that character in its name.
    CarriageReturn,
    /// It is neither an ELF file nor a script with the name of its interpreter.
    NoInterpreter,
}

impl fmt::Display for RoleProgramProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no such file",
            Self::NotExecutable => "it is not executable",
            Self::CarriageReturn => "its lines end with a carriage return, as on Windows",
            Self::NoInterpreter => "it begins neither with #! nor as an ELF file",
        })
    }
}
