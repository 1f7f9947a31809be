//! A proxy before a server that cuts and delays what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Result;

/// What the proxy does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: all passes.
    None,
    /// New connections are closed at once, and those there are end.
    Refuse,
    /// The next request passes, and the connection is cut before its answer comes back.
    CutAnswers,
    /// Each piece of an answer comes so much later.
    Delay(Duration),
    /// Requests pass, and answers never come.
    Silence,
}

/// A proxy on 127.0.0.1. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// The port that it listens on.
    pub port: u16,
    shared: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trouble: Mutex<Trouble>,
    connections: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

impl Proxy {
    /// A proxy before this port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn new(target: u16) -> Result<Self> {
        let failed = |e| format!("a proxy cannot listen: {e}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let shared = Arc::new(Inner {
            trouble: Mutex::new(Trouble::None),
            connections: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        });
        let inner = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if inner.ended.load(Ordering::SeqCst) {
                    return;
                }
                inner.connect(client, target);
            }
        });
        Ok(Self { port, shared })
    }

    /// From now on this is done to connections, also to those there are.
    pub fn set(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        if trouble == Trouble::Refuse {
            self.cut();
        }
    }

    /// Ends all connections there are.
    pub fn cut(&self) {
        let mut connections =
            self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts, so that it ends and the port is free.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Inner {
    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, target: u16) {
        if self.trouble() == Trouble::Refuse {
            return;
        }
        let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))) else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_reads), Ok(server_reads)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        if let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.extend([one, other]);
        }
        thread::spawn(move || pass(client_reads, server, || true));
        let inner = Arc::clone(self);
        thread::spawn(move || {
            pass(server_reads, client, || inner.may_answer());
        });
    }

    /// Whether an answer may pass.
    fn may_answer(&self) -> bool {
        match self.trouble() {
            Trouble::None => true,
            Trouble::Refuse | Trouble::CutAnswers => false,
            Trouble::Delay(time) => {
                thread::sleep(time);
                true
            }
            Trouble::Silence => {
                while self.trouble() == Trouble::Silence && !self.ended.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                self.trouble() == Trouble::None
            }
        }
    }
}

/// Passes bytes on until one side ends, or may not.
fn pass(mut from: TcpStream, mut to: TcpStream, may: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || !may() || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
