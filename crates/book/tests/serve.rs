//! `cargo book serve`: answers, shows a change, survives a fault.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests; clippy.toml exempts only the functions marked so"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const BOOK: &str = env!("CARGO_BIN_EXE_book");

/// How long a thing may take on the busiest of machines.
const DEADLINE: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    address: String,
    /// What it says, on stdout and stderr.
    lines: Receiver<String>,
}

impl Server {
    fn start(root: &Path) -> Server {
        let mut child = Command::new(BOOK)
            .args(["serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let told_too = told.clone();
        thread::spawn(move || tell(stdout, |line| told.send(line).is_ok()));
        thread::spawn(move || tell(stderr, |line| told_too.send(line).is_ok()));
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split('/').next().unwrap().to_owned();
        Server {
            child,
            address,
            lines,
        }
    }

    /// The whole answer, head and body.
    fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn waits_for(&self, part: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap();
            if line.contains(part) {
                return;
            }
        }
    }

    #[cfg(unix)]
    fn interrupt(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        // Its pipes close when it ends.
        while self.lines.recv_timeout(DEADLINE).is_ok() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(stream: impl Read, told: impl Fn(String) -> bool) {
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .all(told);
}

fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let sources = root.path().join("book/en");
    fs::create_dir_all(&sources).unwrap();
    fs::write(root.path().join("book/book.toml"), "[book]\ntitle = 'T'\n")
        .unwrap();
    fs::write(sources.join("SUMMARY.md"), "- [A](a.md)\n").unwrap();
    fs::write(sources.join("a.md"), "# A\n\nthe first text\n").unwrap();
    root
}

#[test]
fn a_changed_page_is_served_and_a_faulty_one_is_not() {
    let root = repository();
    let chapter = root.path().join("book/en/a.md");
    let server = Server::start(root.path());
    let answer = server.get("/en/a.html");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("\r\ncache-control: no-store\r\n"),
        "{answer}"
    );
    assert!(answer.contains("the first text"), "{answer}");
    assert!(answer.contains("livereload"), "{answer}");
    assert!(server.get("/").contains("location: /en/index.html"));
    assert!(server.get("/en/none.html").starts_with("HTTP/1.1 404 "));

    fs::write(&chapter, "# A\n\n[dead](#link) the second text\n").unwrap();
    server.waits_for("error: book/en/a.md: the link `#link` is dead");
    assert!(server.get("/en/a.html").contains("the first text"));

    fs::write(&chapter, "# A\n\nthe third text\n").unwrap();
    server.waits_for("built again");
    assert!(server.get("/en/a.html").contains("the third text"));
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it_even_while_a_page_is_open() {
    let root = repository();
    let mut server = Server::start(root.path());
    let _open = TcpStream::connect(&server.address).unwrap();
    assert_eq!(server.interrupt().code(), Some(0));
}

#[test]
fn a_busy_port_is_one_line_and_a_remedy() {
    let root = repository();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let output = Command::new(BOOK)
        .args(["serve", "--listen", &address, "--root"])
        .arg(root.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    let [error, help] = lines[..] else {
        panic!("{stderr}")
    };
    let expected =
        format!("error: cannot listen on {address}: address already in use");
    assert!(error.starts_with(&expected), "{stderr}");
    assert!(help.starts_with("help: "), "{stderr}");
    assert!(help.contains("port 0"), "{stderr}");
}
