//! Why a request to the API server failed, in words.

use std::error::Error;

use replica_count_client::describe;

/// An error and all its causes in one line, for the log.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    describe::chain(error).replace('\n', " ")
}
