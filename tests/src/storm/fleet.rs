//! The storm's processes: `serve` and `work`, each behind a link of its own.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, RwLock},
    time::Duration,
};

use rustix::process::Signal;

use super::{Proxy, clients::Addresses};
use crate::{Cluster, Ecomdash, TestDatabase, command_on, system::memory_kib};

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API.
    Serve,
    /// The workers.
    Work,
}

impl Role {
    /// Its command.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Work => "work",
        }
    }
}

/// A place in the fleet. Whoever is killed is followed by another in the same place.
pub struct Instance {
    /// `serve 1` …
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its link to the database.
    pub proxy: Proxy,
    process: Ecomdash,
}

/// All of them.
pub struct Fleet {
    /// The places.
    pub instances: Vec<Instance>,
    /// Where clients find the API at the moment.
    pub addresses: Addresses,
    url: String,
    encryption_keys: String,
    /// What processes that are gone have logged.
    buried: Vec<String>,
    /// Memory of each process that still runs, when it was first looked at, in KiB.
    first_kib: BTreeMap<u32, i64>,
}

/// Of whoever collects the processes' metrics.
pub const METRICS_TOKEN: &str = "metrics-of-the-storm-9d1f";

impl Fleet {
    /// Two of each on a database. Transactions that idle for as long as `lease` are ended by the server.
    pub async fn start(cluster: &Cluster, database: &TestDatabase, lease: Option<Duration>) -> Self {
        let mut fleet = Self {
            instances: Vec::new(),
            addresses: Arc::new(RwLock::default()),
            url: database.url.clone(),
            encryption_keys: database.encryption_keys.clone(),
            buried: Vec::new(),
            first_kib: BTreeMap::new(),
        };
        for (role, number) in [(Role::Serve, 1), (Role::Serve, 2), (Role::Work, 1), (Role::Work, 2)] {
            let proxy = Proxy::before(cluster.socket_dir(), lease).await;
            let process = fleet.launch(role, &proxy);
            let name = format!("{} {number}", role.name());
            fleet.instances.push(Instance { name, role, proxy, process });
        }
        fleet.publish();
        fleet
    }

    fn launch(&self, role: Role, proxy: &Proxy) -> Ecomdash {
        let mut command: Command = crate::bare_command(&std::env::temp_dir());
        command.env("DATABASE_URL", proxy.url(&self.url)).env("ENCRYPTION_KEYS", &self.encryption_keys);
        command.env("LOG_LEVEL", "debug").env("METRICS_TOKEN", METRICS_TOKEN);
        tokio::task::block_in_place(|| match role {
            Role::Serve => Ecomdash::spawn({
                command.args(["serve", "--port", "0"]);
                command
            }),
            Role::Work => Ecomdash::work({
                command.arg("work");
                command
            }),
        })
    }

    fn publish(&self) {
        let serving = self.instances.iter().filter(|instance| instance.role == Role::Serve);
        *self.addresses.write().unwrap() =
            serving.map(|instance| (instance.name.clone(), instance.process.url.clone())).collect();
    }

    /// Where the APIs listen.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.addresses.read().unwrap().iter().map(|(_, url)| url.clone()).collect()
    }

    /// The places of a role.
    #[must_use]
    pub fn places(&self, role: Role) -> Vec<usize> {
        (0..self.instances.len()).filter(|place| self.instances[*place].role == role).collect()
    }

    /// `kill -9`; clients find it gone until it is started again.
    pub fn kill(&mut self, place: usize) {
        tokio::task::block_in_place(|| self.instances[place].process.kill());
        self.buried.push(self.instances[place].process.log());
    }

    /// Another process in the place of one that was killed.
    pub fn revive(&mut self, place: usize) {
        self.instances[place].process = self.launch(self.instances[place].role, &self.instances[place].proxy);
        self.publish();
    }

    /// Deploy overlap: the new one serves before the old one is told to end. How long the old one took, and whether it
    /// ended well.
    pub async fn replace(&mut self, place: usize) -> (Duration, bool) {
        let new = self.launch(self.instances[place].role, &self.instances[place].proxy);
        let mut old = std::mem::replace(&mut self.instances[place].process, new);
        self.publish();
        // A platform sends SIGTERM some time after it has switched: requests that were on their way have come by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = std::time::Instant::now();
        let status = tokio::task::block_in_place(|| old.terminate());
        self.buried.push(old.log());
        (began.elapsed(), status.success())
    }

    /// Sends a signal.
    pub fn signal(&self, place: usize, signal: Signal) {
        self.instances[place].process.signal(signal);
    }

    /// Every link as it should be.
    pub fn mend_links(&self) {
        for instance in &self.instances {
            instance.proxy.disarm();
            instance.proxy.mend();
        }
    }

    /// Everything that was logged by anybody.
    #[must_use]
    pub fn logs(&self) -> String {
        let living = self.instances.iter().map(|instance| instance.process.log());
        self.buried.iter().cloned().chain(living).collect()
    }

    /// Memory of every process now, beside what it was at the first look: name, then, now, in KiB.
    pub fn memory(&mut self) -> Vec<(String, i64, i64)> {
        let mut rows = Vec::new();
        for instance in &self.instances {
            let now = memory_kib(instance.process.pid()).unwrap_or(0);
            let then = *self.first_kib.entry(instance.process.pid()).or_insert(now);
            rows.push((instance.name.clone(), then, now));
        }
        rows
    }

    /// Ends all of them with SIGTERM; who did not end well.
    pub fn stop(&mut self) -> Vec<String> {
        let mut unwell = Vec::new();
        for instance in &self.instances {
            instance.process.signal(Signal::TERM);
        }
        for instance in &mut self.instances {
            let status = tokio::task::block_in_place(|| instance.process.wait(Duration::from_secs(40)));
            if !status.success() {
                unwell.push(format!("{} ended with {status}", instance.name));
            }
        }
        unwell
    }
}

/// A command of the binary by way of a link.
#[must_use]
pub fn command_through(database: &TestDatabase, proxy: &Proxy) -> Command {
    let mut command = command_on(database);
    command.env("DATABASE_URL", proxy.url(&database.url));
    command
}
