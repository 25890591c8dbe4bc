//! A server on the loopback interface that answers what a test tells it, to act as a hostile registry.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Answers each request on a loopback port; returns the host and port for the reference of an image.
pub(crate) fn serve(
    answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, Arc::clone(&answer)) else { return };
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1)
                {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                // The client may close the connection.
                let _ = answer(request.split(' ').nth(1).unwrap_or_default(), &mut stream);
            });
        }
    });
    address
}

pub(crate) fn head(to: &mut TcpStream, status: &str, headers: &str) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n")
}

/// Sends bytes until the client closes the connection.
pub(crate) fn without_end(to: &mut TcpStream) -> io::Result<()> {
    let zeros = vec![b' '; 1 << 16];
    loop {
        to.write_all(&zeros)?;
    }
}
