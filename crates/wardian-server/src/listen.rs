//! Listening: addresses, the unix socket, sockets that systemd opened.

use crate::config::Config;
use crate::connection;
use crate::guard::Peer;
use crate::service::Service;
use axum::Router;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

/// Where connections come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The n-th socket that systemd opened.
    Inherited(i32),
}

impl Place {
    /// Of a unix socket.
    fn path(&self) -> Option<&Path> {
        match self {
            Place::Unix(path) => Some(path),
            Place::Tcp(_) | Place::Inherited(_) => None,
        }
    }
}

/// Why we cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Not an address.
    #[error("`{0}` is not an address and port")]
    Address(String),
    /// The kernel refuses.
    #[error("cannot listen at {place}: {source}")]
    Open {
        /// The address or path.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody could reach it.
    #[error("there is no place to listen at: `listen` is empty, and there is no `unix`")]
    Nowhere,
    /// Anybody could run programs.
    #[error("refusing to listen at {0} without a key: anybody could run programs here")]
    NoKey(SocketAddr),
}

impl ListenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ListenError::Address(_) => "write for example 127.0.0.1:8060 or [::1]:8060",
            ListenError::NoKey(_) => {
                "`wardian serve --new-key NAME` prints a key and its entry for the configuration file"
            }
            ListenError::Open { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another service listens there; `--listen` and `--unix` choose other places"
            }
            ListenError::Nowhere => "name one: `--listen ADDR:PORT` or `--unix PATH`",
            ListenError::Open { .. } => return None,
        };
        Some(hint.into())
    }
}

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// All places that are open.
pub(crate) struct Listeners {
    open: BTreeMap<Place, watch::Sender<()>>,
    /// Ends all connections.
    end: watch::Sender<()>,
    router: Router,
    service: Arc<Service>,
}

impl Listeners {
    pub(crate) fn new(router: Router, service: Arc<Service>) -> Listeners {
        Listeners { open: BTreeMap::new(), end: watch::Sender::new(()), router, service }
    }

    /// Opens what a configuration names and is not open, closes what it does not name any more. On an error
    /// everything stays as it was.
    pub(crate) fn apply(&mut self, config: &Config) -> Result<Vec<String>, ListenError> {
        let places = places(config)?;
        for place in &places {
            if let Some(address) = address(place)
                && !address.ip().is_loopback()
                && config.keys.is_empty()
            {
                return Err(ListenError::NoKey(address));
            }
        }
        let fresh: Vec<&Place> = places.iter().filter(|place| !self.open.contains_key(place)).collect();
        let mut opened = Vec::new();
        for place in fresh {
            opened.push((place.clone(), open(place, config)?));
        }
        for path in self.open.keys().filter(|place| places.contains(place)).filter_map(Place::path) {
            set_mode(path, config)
                .map_err(|source| ListenError::Open { place: path.display().to_string(), source })?;
        }
        self.open.retain(|place, _| {
            let stays = places.contains(place);
            if !stays {
                remove(place);
            }
            stays
        });
        let mut names = Vec::new();
        for (place, listener) in opened {
            names.push(name(&place, &listener));
            let closing = watch::Sender::new(());
            self.accept(listener, closing.subscribe());
            self.open.insert(place, closing);
        }
        Ok(names)
    }

    fn accept(&self, listener: Listener, mut closing: watch::Receiver<()>) {
        let accepting = Accepting {
            listener,
            router: self.router.clone(),
            service: Arc::clone(&self.service),
            end: self.end.subscribe(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = accepting.run() => {}
                // The sender is dropped when the place is closed.
                _ = closing.changed() => {}
            }
        });
    }

    /// Takes no more connections.
    pub(crate) fn close(&mut self) {
        for (place, _) in std::mem::take(&mut self.open) {
            remove(&place);
        }
    }

    /// Ends connections that wait for a request; those that serve one end after it.
    pub(crate) fn end(&self) {
        let _ = self.end.send(());
    }
}

struct Accepting {
    listener: Listener,
    router: Router,
    service: Arc<Service>,
    end: watch::Receiver<()>,
}

impl Accepting {
    async fn run(self) {
        const PAUSE: Duration = Duration::from_millis(50);
        loop {
            let serving = connection::Serving {
                router: self.router.clone(),
                service: Arc::clone(&self.service),
                end: self.end.clone(),
            };
            let taken = async {
                match &self.listener {
                    Listener::Tcp(listener) => {
                        let (stream, _) = listener.accept().await?;
                        // Answers are written at once; waiting for more would only delay them.
                        let _ = stream.set_nodelay(true);
                        let local = listener.local_addr();
                        let local = local.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
                        serving.spawn(stream, Peer::Tcp(local.to_canonical()));
                    }
                    Listener::Unix(listener) => serving.spawn(listener.accept().await?.0, Peer::Unix),
                }
                Ok::<_, io::Error>(())
            };
            if let Err(error) = taken.await {
                // No descriptors, no memory: others will have ended in a moment.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn places(config: &Config) -> Result<Vec<Place>, ListenError> {
    let inherited = inherited();
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    let parse = |text: &String| {
        let address =
            text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
        address.parse().map(Place::Tcp).map_err(|_| ListenError::Address(text.clone()))
    };
    let mut places = config.listen.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    places.extend(config.unix.clone().map(Place::Unix));
    if places.is_empty() { Err(ListenError::Nowhere) } else { Ok(places) }
}

/// The sockets that systemd opened for this process (`sd_listen_fds(3)`).
fn inherited() -> Vec<Place> {
    const FIRST: i32 = 3;
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    if variable("LISTEN_PID") != Some(getpid().as_raw_nonzero().get()) {
        return Vec::new();
    }
    let count = variable("LISTEN_FDS").unwrap_or(0).clamp(0, 64);
    (FIRST..FIRST + count).map(Place::Inherited).collect()
}

/// A duplicate of a descriptor that we were started with.
fn duplicate(number: i32) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

fn address(place: &Place) -> Option<SocketAddr> {
    match place {
        Place::Tcp(address) => Some(*address),
        Place::Unix(_) => None,
        Place::Inherited(number) => {
            let socket = duplicate(*number).ok()?;
            SocketAddr::try_from(rustix::net::getsockname(&socket).ok()?).ok()
        }
    }
}

fn open(place: &Place, config: &Config) -> Result<Listener, ListenError> {
    let failed = |source| ListenError::Open { place: shown(place), source };
    match place {
        Place::Tcp(address) => tcp(*address).map_err(failed),
        Place::Unix(path) => unix(path, config).map_err(failed),
        Place::Inherited(number) => adopt(*number).map_err(failed),
    }
}

fn tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Listener::Tcp(socket.listen(BACKLOG)?))
}

fn unix(path: &Path, config: &Config) -> io::Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            // It is left from a service that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
        },
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there, and no socket")),
        Err(_) => {}
    }
    // It must never be open to more than it says, not even at first: it comes into being under another name.
    let mut first = path.as_os_str().to_owned();
    first.push(format!(".{}", getpid().as_raw_nonzero()));
    let _ = fs::remove_file(&first);
    let placed = bound(Path::new(&first), config).and_then(|socket| {
        rustix::net::listen(&socket, BACKLOG.cast_signed())?;
        fs::rename(&first, path)?;
        UnixListener::from_std(socket.into())
    });
    if placed.is_err() {
        let _ = fs::remove_file(&first);
    }
    placed.map(Listener::Unix)
}

/// A socket whose mode is what it has to be before anybody can connect to it.
fn bound(path: &Path, config: &Config) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    set_mode(path, config)?;
    Ok(socket)
}

fn set_mode(path: &Path, config: &Config) -> io::Result<()> {
    let mode = config.unix_mode_bits().unwrap_or(0o600);
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn adopt(number: i32) -> io::Result<Listener> {
    let socket = duplicate(number)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    if rustix::net::sockopt::socket_domain(&socket)? == AddressFamily::UNIX {
        return Ok(Listener::Unix(UnixListener::from_std(socket.into())?));
    }
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())?))
}

fn remove(place: &Place) {
    if let Place::Unix(path) = place {
        let _ = fs::remove_file(path);
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => path.display().to_string(),
        Place::Inherited(number) => format!("the socket inherited as descriptor {number}"),
    }
}

/// With the port that the kernel chose, where it was asked to.
fn name(place: &Place, listener: &Listener) -> String {
    match listener {
        Listener::Tcp(listener) => match listener.local_addr() {
            Ok(address) => format!("http://{address}"),
            Err(_) => shown(place),
        },
        Listener::Unix(_) => format!("unix:{}", shown(place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn nobody_can_connect_before_the_socket_has_its_mode() {
        let path = std::env::temp_dir().join(format!("wardian-bound-{}", getpid().as_raw_nonzero()));
        let _ = fs::remove_file(&path);
        let config = Config { unix_mode: "0640".into(), ..Config::default() };
        let socket = bound(&path, &config).unwrap();
        let refused = UnixStream::connect(&path).map_err(|error| error.kind());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(refused.unwrap_err(), io::ErrorKind::ConnectionRefused);
        rustix::net::listen(&socket, BACKLOG.cast_signed()).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        fs::remove_file(&path).unwrap();
    }
}
