//! The network.

use crate::control::{outside, succeeds};
use crate::guest;
use crate::harness::{Run, skip};
use std::net::{TcpListener, UdpSocket};

const GUEST: &str = guest!("network.py");

struct Servers {
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    args: Vec<String>,
}

impl Servers {
    fn new() -> Servers {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp6 = TcpListener::bind("[::1]:0").ok();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port6 = tcp6.as_ref().map_or(1, |server| server.local_addr().unwrap().port());
        let args = vec![
            format!("tcp={}", tcp.local_addr().unwrap().port()),
            format!("udp={}", udp.local_addr().unwrap().port()),
            format!("tcp6={port6}"),
        ];
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((count, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(&buffer[..count], from);
            }
        });
        tcp.set_nonblocking(true).unwrap();
        Servers { tcp, tcp6, args }
    }

    fn run(&self, options: &[(&str, &str)]) -> crate::harness::Outcome {
        let run = options.iter().fold(Run::new(GUEST), |run, (name, value)| run.option(name, value));
        self.args.iter().fold(run, |run, arg| run.arg(arg.as_str())).times("20s").run().expect("ok")
    }
}

#[test]
fn nothing_outside_answers() {
    let servers = Servers::new();
    let args: Vec<_> = servers.args.iter().map(String::as_str).collect();
    let control = outside(GUEST, &args);
    succeeds(&control, "tcp");
    succeeds(&control, "udp");
    match servers.tcp6 {
        Some(_) => succeeds(&control, "tcp6"),
        None => skip("the host has no IPv6"),
    }
    while servers.tcp.accept().is_ok() {}
    let ways: [&[(&str, &str)]; 5] = [
        &[],
        &[("--network", "loopback")],
        &[("--policy", "strict")],
        &[("--policy", "judge")],
        &[("--policy", "codejail")],
    ];
    for options in ways {
        let seen = servers.run(options).attempts();
        let through: Vec<_> = seen
            .iter()
            .filter(|(name, (result, _))| {
                // A datagram to nowhere may be taken by a loopback interface of its own.
                result == "ok" && !(name.as_str() == "icmp" && options.contains(&("--network", "loopback")))
            })
            .collect();
        assert!(through.is_empty(), "{options:?}: {through:#?}");
        assert!(servers.tcp.accept().is_err(), "{options:?}: somebody connected");
    }
}

const OWN_SERVER: &str = "import socket, threading\nserver = socket.create_server(('127.0.0.1', 0))\nclient = socket.create_connection(server.getsockname())\nserver.accept()[0].sendall(b'hello')\nprint(client.recv(5).decode())";

#[test]
fn loopback_works_among_its_own_processes_only() {
    let outcome = Run::new(OWN_SERVER).option("--network", "loopback").run().expect("ok");
    assert_eq!(outcome.stdout(), "hello\n");
    Run::new(OWN_SERVER).run().expect("nonzero_exit");
}

#[test]
fn interfaces_of_the_host_do_not_show() {
    let code = "import socket\nprint(socket.if_nameindex())";
    for network in ["none", "loopback"] {
        let outcome = Run::new(code).option("--network", network).run();
        let seen = outcome.stdout();
        assert!(["", "[]\n", "[(1, 'lo')]\n"].contains(&seen), "{}", outcome.summary());
    }
}

#[test]
fn socket_pairs_work_without_a_network() {
    let code = "import asyncio, socket\na, b = socket.socketpair()\na.sendall(b'x'); b.recv(1)\nasyncio.run(asyncio.sleep(0))\nprint('fine')";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "fine\n");
}
