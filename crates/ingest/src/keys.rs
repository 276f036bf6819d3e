//! What the master keys are needed for, and how everything comes under the newest of them.
//!
//! Under the master ring are the keys of shops, and the bodies of deliveries whose shop is not registered. A rotation looks
//! for what is not under the newest key and changes it in place, a shop or a few bodies in a transaction: so it may end
//! anywhere and is begun again, and whoever reads meanwhile finds the one or the other.

use std::{collections::BTreeMap, fmt};

use domain::ShopId;
use event_store::{Database, SealedThing, StoreError, opened, rewrap_shop_key};
use uuid::Uuid;
use vault::MasterRing;

/// Shops that are looked at in one call.
const PAGE: i64 = 1000;
/// Bodies that are sealed anew in one transaction.
const BATCH: i64 = 50;

/// What cannot be opened without a master key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// Shops whose keys are under it.
    pub shops: u64,
    /// One of them.
    pub a_shop: Option<ShopId>,
    /// Deliveries of shops that are not registered.
    pub deliveries: u64,
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deliveries = format!("{} deliveries of shops that are not registered", self.deliveries);
        match self.a_shop {
            Some(shop) if self.deliveries == 0 => write!(f, "the keys of {} shops ({shop})", self.shops),
            Some(shop) => write!(f, "the keys of {} shops ({shop}) and {deliveries}", self.shops),
            None => f.write_str(&deliveries),
        }
    }
}

/// What needs which master key, by the key's id: of the ids that are asked for.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn key_uses(
    database: &Database,
    is_meant: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, KeyUse>, StoreError> {
    let mut uses: BTreeMap<String, KeyUse> = BTreeMap::new();
    let mut after = Uuid::nil();
    loop {
        let page = shop_key_ids(database, after).await?;
        for (shop, id) in page.keys {
            if is_meant(&id) {
                let of_key = uses.entry(id).or_default();
                of_key.shops += 1;
                of_key.a_shop.get_or_insert(shop);
            }
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    for id in unclaimed_key_ids(database).await? {
        let name = MasterRing::id_of(&id);
        if is_meant(&name) {
            let mut fleet = database.begin_fleet().await?;
            let count = sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM inbox_unclaimed WHERE substr(body, 1, 4) = $1"#,
                id
            );
            let count = count.fetch_one(&mut *fleet).await?;
            fleet.commit().await?;
            uses.entry(name).or_default().deliveries += count.unsigned_abs();
        }
    }
    Ok(uses)
}

/// The keys of some shops, each with the id of the master key that it is under.
struct KeyIds {
    keys: Vec<(ShopId, String)>,
    /// Where the next page begins; `None` after the last one.
    next: Option<Uuid>,
}

async fn shop_key_ids(database: &Database, after: Uuid) -> Result<KeyIds, StoreError> {
    let query = || sqlx::query!(r#"SELECT shop AS "shop!", key_id FROM shop_key_ids($1, $2)"#, after, PAGE);
    let rows = database.single(query).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
    let next = rows.last().filter(|_| is_full).map(|row| row.shop);
    // One that is destroyed needs no master key.
    let keys = rows.into_iter().filter_map(|row| Some((ShopId(row.shop), MasterRing::id_of(&row.key_id?))));
    Ok(KeyIds { keys: keys.collect(), next })
}

/// The ids of the master keys that bodies are under: from one to the next by one probe of the index.
async fn unclaimed_key_ids(database: &Database) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut fleet = database.begin_fleet().await?;
    let ids = sqlx::query_scalar!(
        r#"WITH RECURSIVE ids AS (
               (SELECT substr(body, 1, 4) AS id FROM inbox_unclaimed ORDER BY substr(body, 1, 4) LIMIT 1)
               UNION ALL
               SELECT n.id
               FROM ids i
               CROSS JOIN LATERAL (
                   SELECT substr(u.body, 1, 4) AS id
                   FROM inbox_unclaimed u
                   WHERE substr(u.body, 1, 4) > i.id
                   ORDER BY substr(u.body, 1, 4)
                   LIMIT 1
               ) n
           )
           SELECT id AS "id!" FROM ids"#
    )
    .fetch_all(&mut *fleet)
    .await?;
    fleet.commit().await?;
    Ok(ids)
}

/// What a rotation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Keys of shops that are under the newest key since.
    pub shop_keys: u64,
    /// Bodies of deliveries.
    pub bodies: u64,
    /// What does not open where it stands, and is left as it was. The log names each.
    pub refused: u64,
}

impl Rotated {
    fn done(self) -> u64 {
        self.shop_keys + self.bodies
    }
}

/// What comes under an older key meanwhile is taken in the next round.
const ROUNDS: u32 = 4;

/// Brings everything under the newest key of the ring, beside whoever works with it. Ended anywhere, it goes on where it
/// is begun again. What others are just writing may be left: [`key_uses`] tells.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn rotate_keys(database: &Database, mut progress: impl FnMut(u64)) -> Result<Rotated, StoreError> {
    let mut rotated = Rotated::default();
    // Two that rotate towards different keys would go on for ever.
    for _ in 0..ROUNDS {
        let before = rotated.done();
        rotated.refused = 0;
        rewrap_shops(database, &mut rotated, &mut progress).await?;
        for id in unclaimed_key_ids(database).await? {
            if is_older(database.ring(), &MasterRing::id_of(&id)) {
                reseal_unclaimed(database, &id, &mut rotated, &mut progress).await?;
            }
        }
        if rotated.done() == before {
            break;
        }
    }
    Ok(rotated)
}

fn is_older(ring: &MasterRing, id: &str) -> bool {
    ring.holds(id) && ring.newest() != id
}

async fn rewrap_shops(
    database: &Database,
    rotated: &mut Rotated,
    progress: &mut impl FnMut(u64),
) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let page = shop_key_ids(database, after).await?;
        for (shop, _) in page.keys.into_iter().filter(|(_, id)| is_older(database.ring(), id)) {
            let mut tx = database.begin(shop).await?;
            match rewrap_shop_key(&mut tx).await {
                Ok(is_done) => rotated.shop_keys += u64::from(is_done),
                Err(error @ StoreError::Keys(..)) => {
                    tracing::warn!(%shop, error = &error as &dyn std::error::Error, "a shop's key is left as it is");
                    rotated.refused += 1;
                }
                Err(error) => return Err(error),
            }
            tx.commit().await?;
            progress(rotated.done());
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// The bodies that are under one key.
async fn reseal_unclaimed(
    database: &Database,
    key_id: &[u8],
    rotated: &mut Rotated,
    progress: &mut impl FnMut(u64),
) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let mut fleet = database.begin_fleet().await?;
        // Those that are being moved or purged are passed by, so nobody waits here for anybody.
        let ids = sqlx::query_scalar!(
            "SELECT id
             FROM inbox_unclaimed
             WHERE substr(body, 1, 4) = $1 AND id > $2
             ORDER BY id
             LIMIT $3
             FOR NO KEY UPDATE SKIP LOCKED",
            key_id,
            after,
            BATCH,
        )
        .fetch_all(&mut *fleet)
        .await?;
        let Some(last) = ids.last() else { return Ok(fleet.commit().await?) };
        after = *last;
        // One at a time: a body may be long.
        for id in ids {
            let body = sqlx::query_scalar!("SELECT body FROM inbox_unclaimed WHERE id = $1", id);
            let body = body.fetch_one(&mut *fleet).await?;
            match opened(SealedThing::Body, database.ring().open_unclaimed(id, &body)) {
                Ok(plain) => {
                    let again = database.ring().seal_unclaimed(id, &plain);
                    sqlx::query!("UPDATE inbox_unclaimed SET body = $2 WHERE id = $1", id, again)
                        .execute(&mut *fleet)
                        .await?;
                    rotated.bodies += 1;
                }
                Err(error) => {
                    tracing::warn!(%id, error = &error as &dyn std::error::Error, "a delivery's body is left as it is");
                    rotated.refused += 1;
                }
            }
        }
        fleet.commit().await?;
        progress(rotated.done());
    }
}
