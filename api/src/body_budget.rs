//! How much there may be in memory of bodies whose senders are not known yet.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Over all connections, in bytes: whoever can connect can send some.
const OF_ALL: usize = 256 << 20;
/// Of one client: it cannot keep the others out. A proxy that is not told of calls for all of them, from an address of a network
/// of its own.
const OF_CLIENT: usize = 64 << 20;

static READING: LazyLock<Mutex<Reading>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Reading {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

fn is_of_own_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    }
}

fn reading() -> MutexGuard<'static, Reading> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of one body, which are given back when this is dropped.
pub(crate) struct BodyBytes {
    client: IpAddr,
    bytes: usize,
}

impl BodyBytes {
    /// None yet.
    pub fn of(client: IpAddr) -> Self {
        Self { client, bytes: 0 }
    }

    /// So many more; `false` where there is no room for them.
    #[must_use]
    pub fn take(&mut self, more: usize) -> bool {
        let mut reading = reading();
        let of_client = reading.by_client.get(&self.client).copied().unwrap_or(0) + more;
        if reading.all + more > OF_ALL || (of_client > OF_CLIENT && !is_of_own_network(self.client)) {
            return false;
        }
        reading.all += more;
        reading.by_client.insert(self.client, of_client);
        self.bytes += more;
        true
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        let mut reading = reading();
        reading.all -= self.bytes;
        let of_client = reading.by_client.get(&self.client).copied().unwrap_or(0) - self.bytes;
        if of_client == 0 {
            reading.by_client.remove(&self.client);
        } else {
            reading.by_client.insert(self.client, of_client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_its_share_and_all_take_no_more_than_there_is() {
        let client = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut greedy = BodyBytes::of(client(1));
        assert!(greedy.take(OF_CLIENT / 2));
        let mut more = BodyBytes::of(client(1));
        assert!(more.take(OF_CLIENT / 2) && !more.take(1) && !greedy.take(1), "its share is taken");
        let mut others: Vec<BodyBytes> = (2..=4).map(|last| BodyBytes::of(client(last))).collect();
        assert!(others.iter_mut().all(|other| other.take(OF_CLIENT)));
        assert!(!BodyBytes::of(client(5)).take(1), "all of it is taken");
        let mut proxy = BodyBytes::of(IpAddr::from([10, 0, 0, 1]));
        assert!(!proxy.take(1));
        others.pop();
        others.pop();
        assert!(proxy.take(OF_CLIENT) && proxy.take(OF_CLIENT), "it calls for others");
        drop(proxy);
        drop(more);
        assert!(BodyBytes::of(client(5)).take(OF_CLIENT / 2) && greedy.take(1));
        others.clear();
        drop(greedy);
        assert!(reading().by_client.is_empty() && reading().all == 0);
    }
}
