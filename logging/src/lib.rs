//! The log of the workstation's commands and of `psyops-agent`: the options that switch it on, what is recorded, and
//! the form of its lines.
//!
//! Code records events and spans with `tracing`. Without `-v` and `PSYOPS_LOG` nothing is installed that receives
//! them. The lines go to a function of the program, which writes them to standard error; this crate opens no file.
//! PID 1 has a writer of its own and does not use this crate.
//!
//! A program records what it does, never what it does it with: no content of a file, no argument or environment of
//! another program. Libraries also use `tracing`, and some of them record requests with their credentials, so only
//! events of our own crates are let through, whatever the user asks for.

mod arguments;
mod layer;
mod line;
mod selection;

pub use arguments::{LogArgs, LogFormat};
pub use selection::{BadSelection, VARIABLE};

use layer::Lines;
use selection::Selection;
use std::ffi::OsStr;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

/// Writes one line of the log, without its line end; the text is escaped already.
pub type Print = fn(&str);

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The value of `PSYOPS_LOG` is not a selection of events.
    #[error(transparent)]
    Selection(#[from] BadSelection),
    /// The program has started a log already.
    #[error("the log was started before")]
    Twice,
}

/// Starts the log as `args` and `variable`, the value of [`VARIABLE`], ask for. If they ask for nothing, there is no log,
/// but a value that is not valid is an error in any case. `json` says whether the command prints JSON.
pub fn start(args: &LogArgs, variable: Option<&OsStr>, json: bool, print: Print) -> Result<(), StartError> {
    let from_variable = variable.map(Selection::from_variable).transpose()?;
    let selection = Selection::of_verbosity(args.verbose).or(from_variable);
    let Some(filter) = selection.as_ref().and_then(Selection::filter) else { return Ok(()) };
    let format = args.log_format.unwrap_or(if json { LogFormat::Json } else { LogFormat::Text });
    let subscriber = Registry::default().with(filter).with(Lines { format, print });
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Twice)
}
