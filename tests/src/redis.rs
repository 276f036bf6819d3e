//! A real Redis of a test's own, on a port of loopback, that ends with its handle.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::free_folder;

/// A server.
pub struct Redis {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
}

/// All that every database holds, whatever its type.
const EVERYTHING: &str = "
local read = { string = {'GET'}, list = {'LRANGE', 0, -1}, set = {'SMEMBERS'}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
               hash = {'HGETALL'}, stream = {'XRANGE', '-', '+'} }
local found = {}
for database = 0, 15 do
    redis.call('SELECT', database)
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local how = read[redis.call('TYPE', key).ok]
        table.insert(found, cjson.encode({key, redis.call(how[1], key, unpack(how, 2))}))
    end
end
return table.concat(found, '\\n')
";

enum Started {
    Runs,
    Ended,
    Missing,
}

impl Redis {
    /// Starts one. `None`, loudly, where none is installed.
    pub fn start() -> Option<Self> {
        let mut redis = Self { child: None, port: 0, folder: free_folder() };
        // Between our look and the server's, somebody else may take the port.
        for _ in 0..5 {
            redis.port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
            match redis.spawn() {
                Started::Runs => return Some(redis),
                Started::Ended => {}
                Started::Missing => return None,
            }
        }
        panic!("redis-server ends as soon as it starts");
    }

    /// Starts it again on its port, empty.
    pub fn start_again(&mut self) {
        assert!(matches!(self.spawn(), Started::Runs), "redis-server starts again");
    }

    fn spawn(&mut self) -> Started {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let mut command = Command::new("redis-server");
        command.args(arguments).args(["--port", &self.port.to_string()]).current_dir(&self.folder);
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                crate::looked_at_nothing(&format!("redis-server cannot be run ({error})"));
                return Started::Missing;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.ask("PING\r\n").is_none_or(|answer| !answer.starts_with("+PONG")) {
            if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                return Started::Ended;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Started::Runs
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every key with its value.
    pub fn everything(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        let command = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{EVERYTHING}\r\n$1\r\n0\r\n", EVERYTHING.len());
        stream.write_all(command.as_bytes()).expect("it reads");
        let (mut answer, mut buffer) = (Vec::new(), [0; 65_536]);
        loop {
            let count = stream.read(&mut buffer).expect("it answers");
            answer.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&answer);
            let (length, rest) = text.split_once("\r\n").unwrap_or_default();
            let length: usize = match length.strip_prefix('$') {
                Some(length) => length.parse().expect("a length"),
                None => panic!("it answers {text}"),
            };
            if rest.len() >= length || count == 0 {
                return rest.to_owned();
            }
        }
    }

    /// Writes down every command that reaches it from now on.
    pub fn overheard(&self) -> Arc<Mutex<String>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(b"MONITOR\r\n").expect("it reads");
        let overheard = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&overheard);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                kept.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        overheard
    }

    /// Sends commands as one would type them, and takes what is answered at once.
    pub fn ask(&self, commands: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(commands.as_bytes()).ok()?;
        let mut buffer = [0; 65_536];
        let count = stream.read(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
