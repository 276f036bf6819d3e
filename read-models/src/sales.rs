//! The projection `sales`: the ledger and its daily sums, written together.

use std::collections::BTreeMap;

use domain::{ShopId, ledger::DEFINITION};
use sqlx::PgConnection;

use crate::{
    BoxFuture, Change, Generation, Projection,
    daily_sales::{self, Delta},
    daily_sales_at::{self, KEPT_EVERY},
    sale_fact::{self, SaleFact, facts_of},
};

/// Raised when something else is kept than before, though every figure means the same: since the first, also what days
/// came to on the way.
const FORM: u32 = 1;

/// Of the definition of the figures and of what is kept of them. Either is raised, never lowered.
pub const VERSION: u32 = DEFINITION + FORM;

/// A batch of the ledger.
#[derive(Default)]
pub struct SalesProjection {
    facts: Vec<SaleFact>,
    days: Delta,
}

impl Projection for SalesProjection {
    fn fold(&mut self, generation: &Generation, change: &Change<'_>) {
        for fact in facts_of(generation, change) {
            daily_sales::fold(&mut self.days, &fact);
            self.facts.push(fact);
        }
    }

    fn write<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        generation: &'a Generation,
        up_to: i64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sale_fact::append(connection, generation, &self.facts).await?;
            daily_sales::write(connection, generation, &self.days).await?;
            self.facts.clear();
            self.days.clear();
            if up_to % KEPT_EVERY == 0 {
                daily_sales_at::keep(connection, generation, up_to).await?;
            }
            Ok(())
        })
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        shop: ShopId,
        limit: i64,
    ) -> BoxFuture<'a, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let facts = sqlx::query!(
                "DELETE FROM sale_fact
                 WHERE shop_id = $1 AND ctid = ANY (ARRAY(
                     SELECT ctid FROM sale_fact
                     WHERE shop_id = $1 AND generation <> ALL (ARRAY(
                         SELECT generation FROM checkpoints WHERE shop_id = $1 AND projection = 'sales'))
                     LIMIT $2))",
                shop.0,
                limit,
            )
            .execute(&mut *connection)
            .await?;
            let days = sqlx::query!(
                "DELETE FROM daily_sales
                 WHERE shop_id = $1 AND generation <> ALL (ARRAY(
                     SELECT generation FROM checkpoints WHERE shop_id = $1 AND projection = 'sales'))",
                shop.0,
            )
            .execute(&mut *connection)
            .await?;
            let kept = sqlx::query!(
                "DELETE FROM daily_sales_at
                 WHERE shop_id = $1 AND ctid = ANY (ARRAY(
                     SELECT ctid FROM daily_sales_at
                     WHERE shop_id = $1 AND generation <> ALL (ARRAY(
                         SELECT generation FROM checkpoints WHERE shop_id = $1 AND projection = 'sales'))
                     LIMIT $2))",
                shop.0,
                limit,
            )
            .execute(connection)
            .await?;
            Ok(facts.rows_affected() + days.rows_affected() + kept.rows_affected())
        })
    }

    fn sums<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        shop: ShopId,
        generation: i32,
        up_to: i64,
    ) -> BoxFuture<'a, Result<BTreeMap<String, i64>, sqlx::Error>> {
        Box::pin(async move {
            let rows = sqlx::query!(
                r#"SELECT currency, sum(units)::bigint AS "units!", sum(gross_minor)::bigint AS "gross!",
                          sum(discount_minor)::bigint AS "discount!", sum(net_minor)::bigint AS "net!",
                          sum(tax_minor)::bigint AS "tax!", sum(orders)::bigint AS "orders!"
                   FROM sale_fact
                   WHERE shop_id = $1 AND generation = $2 AND position <= $3
                   GROUP BY currency"#,
                shop.0,
                generation,
                up_to,
            )
            .fetch_all(connection)
            .await?;
            let mut sums = BTreeMap::new();
            for row in rows {
                let named = [
                    ("units", row.units),
                    ("gross_minor", row.gross),
                    ("discount_minor", row.discount),
                    ("net_minor", row.net),
                    ("tax_minor", row.tax),
                    ("orders", row.orders),
                ];
                for (name, value) in named {
                    sums.insert(format!("{}.{name}", row.currency), value);
                }
            }
            Ok(sums)
        })
    }
}
