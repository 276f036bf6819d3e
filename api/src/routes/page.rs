//! Pages of lists.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::ApiError;

/// Rows of a page, where nobody says how many.
pub(super) const DEFAULT_LIMIT: i64 = 25;
/// Rows of a page at most.
pub(super) const MAX_LIMIT: i64 = 100;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many; 25 where it is left out.
    #[param(minimum = 1, maximum = 100)]
    pub(super) limit: Option<i64>,
    /// `next_cursor` of the page before; the first page where it is left out.
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    /// The cursor and the limit.
    pub(super) fn checked(self) -> Result<(Option<String>, i64), ApiError> {
        let limit = limit_of(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        // The database takes no zero byte, and no id has one.
        Ok((self.cursor.filter(|cursor| !cursor.contains('\0')), limit))
    }
}

/// Cuts a page to its limit, where one more was asked for to see whether there is one. Returns the last one if there is.
pub(super) fn cut<T>(page: &mut Vec<T>, limit: i64) -> Option<&T> {
    let has_more = i64::try_from(page.len()).is_ok_and(|count| count > limit);
    if has_more {
        page.pop();
    }
    page.last().filter(|_| has_more)
}

/// How many rows are asked for.
pub(super) fn limit_of(asked: Option<i64>, default: i64, most: i64) -> Result<i64, ApiError> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::BadRequest(format!("`limit` is not between 1 and {most}").into()))
    }
}
