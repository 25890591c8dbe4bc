//! The QEMU Machine Protocol (docs/interop/qmp-spec), with only what is needed to control a machine: one command per
//! line.

use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket's name in a machine's folder.
pub const SOCKET: &str = "qmp";
/// QEMU answers immediately or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a machine.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects, and negotiates the protocol.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { reader: BufReader::new(stream) };
        connection.line()?;
        connection.execute("qmp_capabilities", &json!({}))?;
        Ok(connection)
    }

    /// Runs a command and returns its result. Events in between are skipped.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.reader.get_mut().write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer: Value = serde_json::from_str(&self.line()?)?;
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}
