//! The catalog: GET /books is a line a book, its id and its title. HTTP/1.1 by the standard library alone.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const BOOKS: &str = "moby\tMoby-Dick\nemma\tEmma\ndune\tDune\n";

fn main() -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    println!("the catalog listens on port 8080");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// One connection, which Envoy keeps open for many requests.
fn serve(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let (status, body) = match request.split(' ').nth(1) {
            Some("/books") => ("200 OK", BOOKS),
            Some("/healthz") => ("200 OK", "ok\n"),
            _ => ("404 Not Found", "no such page\n"),
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}")?;
    }
}
