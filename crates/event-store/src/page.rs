//! Pages that are bounded by bytes as well as by rows: a row may be a thousand times as long as the one before it.

use futures::{Stream, TryStreamExt};

/// So many rows are asked for while nothing is known of their length.
const FIRST: usize = 16;
/// So many times what is known fits, at most.
const GROWTH: usize = 8;

/// Rows that are in memory at once: at most so many, and not many more bytes than so many, but always one if there is one.
pub struct Page<T> {
    /// In the order in which they were asked for.
    pub rows: Vec<T>,
    /// It ended because it was full: more rows may follow.
    pub is_full: bool,
    has_ended: bool,
    max_rows: usize,
    max_bytes: usize,
    bytes: usize,
}

impl<T> Page<T> {
    /// An empty one.
    #[must_use]
    pub fn of_at_most(max_rows: i64, max_bytes: usize) -> Self {
        let max_rows = usize::try_from(max_rows).unwrap_or(0);
        Self { rows: Vec::new(), is_full: max_rows == 0, has_ended: false, max_rows, max_bytes, bytes: 0 }
    }

    /// How many rows to ask the database for, behind the last one; `None` once the page is done. What is asked for is likely to
    /// fit: what does not is sent, and thrown away.
    #[must_use]
    pub fn wants(&self) -> Option<i64> {
        if self.is_full || self.has_ended {
            return None;
        }
        let likely = match self.rows.len() {
            0 => FIRST,
            // Short ones may stand before long ones.
            count => ((self.max_bytes - self.bytes) / (self.bytes / count).max(1) + 1).min(GROWTH * count),
        };
        i64::try_from(likely.min(self.max_rows - self.rows.len())).ok()
    }

    /// Takes rows that were asked for, until it is full. `length` tells a row's bytes.
    ///
    /// # Errors
    /// Those of the rows.
    pub async fn take(
        &mut self,
        asked: i64,
        mut rows: impl Stream<Item = Result<T, sqlx::Error>> + Unpin,
        length: impl Fn(&T) -> usize,
    ) -> Result<(), sqlx::Error> {
        for _ in 0..asked {
            let Some(row) = rows.try_next().await? else {
                self.has_ended = true;
                break;
            };
            self.bytes += length(&row);
            self.rows.push(row);
            self.is_full = self.bytes >= self.max_bytes || self.rows.len() >= self.max_rows;
            if self.is_full {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// What a page takes of a table of rows of these lengths, and how many rows it had sent.
    async fn taken(table: &[usize], max_rows: i64, max_bytes: usize) -> (Page<usize>, usize) {
        let (mut page, mut sent) = (Page::of_at_most(max_rows, max_bytes), 0);
        while let Some(asked) = page.wants() {
            assert!(asked > 0);
            let rest = table.iter().skip(page.rows.len()).copied().take(usize::try_from(asked).unwrap());
            sent += rest.clone().count();
            page.take(asked, stream::iter(rest.map(Ok)), |length| *length).await.unwrap();
        }
        (page, sent)
    }

    #[tokio::test]
    async fn a_page_ends_where_its_rows_its_bytes_or_the_table_do() {
        let of = async |table: &[usize], max_rows, max_bytes| {
            let (page, sent) = taken(table, max_rows, max_bytes).await;
            (page.rows.len(), page.is_full, sent)
        };
        assert_eq!(of(&[10; 5000], 1000, 1_000_000).await, (1000, true, 1000));
        assert_eq!(of(&[10; 700], 1000, 1_000_000).await, (700, false, 700));
        assert_eq!(of(&[], 1000, 1_000_000).await, (0, false, 0));
        assert_eq!(of(&[10; 5], 0, 1_000_000).await, (0, true, 0));
        // Long rows: hardly any are sent for nothing.
        assert_eq!(of(&[500_000; 5000], 1000, 1_000_000).await, (2, true, FIRST));
        assert_eq!(of(&[10_000; 5000], 1000, 1_000_000).await, (100, true, 101));
        // One that is longer than a page is a page.
        assert_eq!(of(&[7_000_000, 1], 1000, 1_000_000).await, (1, true, 2));
        // Long ones behind short ones.
        let table: Vec<usize> = [10; 40].into_iter().chain([400_000; 5000]).collect();
        let (taken, _, sent) = of(&table, 1000, 1_000_000).await;
        assert!(taken == 43 && sent <= GROWTH * 40 + 16, "{taken} of {sent}");
    }
}
